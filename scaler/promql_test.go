package scaler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// vector is an answer with these series' values, of that moment.
func vector(at time.Time, values ...string) string {
	series := make([]string, len(values))
	for i, v := range values {
		series[i] = fmt.Sprintf(`{"metric":{"instance":"10.0.0.%d:20001"},"value":[%d.123,%q]}`, i+1, at.Unix(), v)
	}
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func TestOneNumberIsReadOutOfAnInstantAnswer(t *testing.T) {
	now := time.Date(2026, 9, 7, 8, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		body string
		want float64 // -1: none
		why  string
	}{
		"a series":             {vector(now, "84.5"), 84.5, ""},
		"zero":                 {vector(now, "0"), 0, ""},
		"all of it":            {vector(now, "100"), 100, ""},
		"a little ago":         {vector(now.Add(-30*time.Second), "7"), 7, ""},
		"a scalar":             {`{"status":"success","data":{"resultType":"scalar","result":[1788768000.5,"42"]}}`, 42, ""},
		"with warnings":        {`{"status":"success","warnings":["w"],"infos":["i"],"data":{"resultType":"scalar","result":[1788768000,"1e1"]}}`, 10, ""},
		"no series":            {vector(now), -1, "gives no series"},
		"several series":       {vector(now, "1", "2", "3"), -1, "gives 3 series, want one: put avg(…) or sum(…) around it"},
		"not a number":         {vector(now, "NaN"), -1, "gives NaN, want a number"},
		"infinite":             {vector(now, "+Inf"), -1, "gives +Inf, want a number"},
		"too large a number":   {vector(now, "1e999"), -1, "gives +Inf"},
		"above a percentage":   {vector(now, "100.5"), 100.5, ""},
		"text":                 {vector(now, "high"), -1, `gives "high", want a number`},
		"stale":                {vector(now.Add(-5*time.Minute), "7"), -1, "of 2026-09-07T07:55:00Z: from a cache, or by a wrong clock"},
		"from the future":      {vector(now.Add(5*time.Minute), "7"), -1, "of 2026-09-07T08:05:00Z"},
		"a range":              {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, -1, "gives a range of values"},
		"a string":             {`{"status":"success","data":{"resultType":"string","result":[1788768000,"a"]}}`, -1, "gives a string, want a number"},
		"a histogram":          {`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1788768000,{"count":"1"}]}]}}`, -1, "gives a histogram"},
		"its own error":        {`{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"}`, -1, "1:5: parse error: unclosed left parenthesis"},
		"an error, no words":   {`{"status":"error"}`, -1, "not that of /api/v1/query"},
		"a very long error":    {`{"status":"error","error":"` + strings.Repeat("é ", 5000) + `"}`, -1, "…"},
		"a number of a number": {`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1788768000,5]}]}}`, -1, "not that of /api/v1/query"},
		"a point of three":     {`{"status":"success","data":{"resultType":"scalar","result":[1788768000,"5","6"]}}`, -1, "not that of /api/v1/query"},
		"no type":              {`{"status":"success","data":{}}`, -1, "want a number"},
		"a page":               {"<html>", -1, "not that of /api/v1/query"},
		"nothing":              {"", -1, "not that of /api/v1/query"},
	} {
		got, err := readInstant([]byte(c.body), now)
		v := got.Value
		if c.want >= 0 {
			if err != nil || v != c.want {
				t.Errorf("%s: %v, %v; want %v", name, v, err, c.want)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.why) || len(err.Error()) > 600 {
			t.Errorf("%s: %v, %v; want the error … %s", name, v, err, c.why)
		}
	}
}

func TestWhatAnAnswerWarnsOfIsReadWhateverItsForm(t *testing.T) {
	now := time.Date(2026, 9, 7, 8, 0, 0, 0, time.UTC)
	for warnings, want := range map[string]string{
		`["a"]`:                                "a",
		`["a\n b","c"]`:                        "a b; c",
		`[]`:                                   "",
		`null`:                                 "",
		`"a"`:                                  "",
		`[1]`:                                  "",
		`{"a":"b"}`:                            "",
		`["` + strings.Repeat("é", 300) + `"]`: strings.Repeat("é", 200) + "…",
	} {
		body := strings.Replace(vector(now, "7"), `{`, `{"warnings":`+warnings+`,`, 1)
		if r, err := readInstant([]byte(body), now); err != nil || r.Value != 7 || r.Warning != want {
			t.Errorf("%s: %v, %q, %v; want 7 and %q", warnings, r.Value, r.Warning, err, want)
		}
	}
	// What is missing may be the reason why there is no value.
	body := strings.Replace(vector(now), `{`, `{"warnings":["no store reached"],`, 1)
	if _, err := readInstant([]byte(body), now); !errors.Is(err, ErrNoSeries) || !strings.HasSuffix(err.Error(), "; it warns: no store reached") {
		t.Errorf("no series, with a warning: %v", err)
	}
}

func FuzzReadInstant(f *testing.F) {
	now := time.Date(2026, 9, 7, 8, 0, 0, 0, time.UTC)
	f.Add([]byte(vector(now, "84.5")))
	f.Add([]byte(vector(now, "1", "NaN")))
	f.Add([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1e308,"0x1p-2"]}}`))
	f.Add([]byte(`{"status":"error","errorType":"timeout","error":"query timed out"}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[null]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := readInstant(body, now)
		v := r.Value
		if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) || len([]rune(r.Warning)) > 201 || err != nil && err.Error() == "" {
			t.Errorf("%v, %v", v, err)
		}
	})
}

func TestAddressesOfPrometheusAreChecked(t *testing.T) {
	for _, address := range []string{"http://127.0.0.1:9090", "https://user:secret@prometheus.example.org/prod/", "http://[::1]:9090"} {
		if u, err := ParsePrometheus(address); err != nil || u.Host == "" {
			t.Errorf("%s: %v, %v", address, u, err)
		}
	}
	for _, address := range []string{"", "127.0.0.1:9090", "prometheus", "ftp://u:secret@h", "http://", "http://u:secret@h:x", "http://u:secret@h/?a=b", "http://u:secret@h/#a", "http://u:sec\x7fret@h"} {
		_, err := ParsePrometheus(address)
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "http://127.0.0.1:9090") {
			t.Errorf("%q: %v, want an error that says what is allowed, without the password", address, err)
		}
	}
}

// ask asks a pretend server, which says what it was asked.
func ask(t *testing.T, address string, answer func(*http.Request) (*http.Response, error)) (float64, *http.Request, string, error) {
	t.Helper()
	server, err := ParsePrometheus(address)
	if err != nil {
		t.Fatal(err)
	}
	var asked *http.Request
	var form string
	client := &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked, form = r, string(body)
		return answer(r)
	})}
	ctx, cancel := context.WithTimeout(t.Context(), gpuTimeout)
	defer cancel()
	r, err := instant(ctx, client, server, `avg(DCGM_FI_DEV_GPU_UTIL{job="chat"}) & 1`)
	return r.Value, asked, form, err
}

func TestPrometheusIsAskedTheQueryWithItsPassword(t *testing.T) {
	v, asked, form, err := ask(t, "https://reader:s3cret@prometheus.example.org/prod/", func(*http.Request) (*http.Response, error) {
		return reply(200, vector(time.Now(), "61")), nil
	})
	if err != nil || v != 61 {
		t.Fatalf("%v, %v", v, err)
	}
	if got, want := asked.Method+" "+asked.URL.String(), "POST https://prometheus.example.org/prod/api/v1/query"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	if values, err := url.ParseQuery(form); err != nil || values.Get("query") != `avg(DCGM_FI_DEV_GPU_UTIL{job="chat"}) & 1` {
		t.Errorf("the form is %q, %v", form, err)
	}
	if user, password, ok := asked.BasicAuth(); user != "reader" || password != "s3cret" || !ok {
		t.Errorf("authorization %q", asked.Header.Get("Authorization"))
	}
}

func TestAServerThatDoesNotAnswerIsNamedWithoutItsPassword(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		want   string
	}{
		"refused": {func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, "Prometheus: connection refused"},
		"a login page": {func(*http.Request) (*http.Response, error) { return reply(401, "<html>"), nil },
			"Prometheus: status 401"},
		"its own error": {func(*http.Request) (*http.Response, error) {
			return reply(400, `{"status":"error","errorType":"bad_data","error":"parse error"}`), nil
		}, "Prometheus: parse error"},
		"success with another status": {func(*http.Request) (*http.Response, error) { return reply(503, vector(time.Now(), "1")), nil },
			"Prometheus: status 503"},
		"without bound": {func(*http.Request) (*http.Response, error) {
			return reply(200, strings.Repeat(" ", promMaximum+1)), nil
		},
			"Prometheus: an answer of more than 1 MiB"},
		"silent": {func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
			"Prometheus: no answer within 2s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, _, _, err := ask(t, "http://reader:s3cret@127.0.0.1:9090", c.answer)
			if err == nil || err.Error() != c.want {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		})
	}
}
