package scaler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	promMaximum = 1 << 20     // bytes of one answer
	promSkew    = time.Minute // between its clock and ours; more, and the answer is an old one
)

// ErrNoSeries is a query without a result: of something that is not scraped now,
// perhaps because nothing runs.
var ErrNoSeries = errors.New("the query gives no series: nothing of that name is scraped now")

var errNoPrometheus = errors.New("no Prometheus is known to ask: start the scaler with --prometheus URL")

// ParsePrometheus reads the address of a Prometheus server: http or https, a host,
// the path under which its API lies, and user:password@ if it asks for them. Its
// errors do not repeat what they are about, which may hold a password.
func ParsePrometheus(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not the URL of a Prometheus server; allowed: http:// or https://, a host, and a path if it has one, such as http://127.0.0.1:9090")
	}
	return u, nil
}

// Reading is what a query gave.
type Reading struct {
	Value float64
	// Warning is what Prometheus warns of in its answer, such as a part of its data
	// that it could not reach; "" if of nothing. The value is used all the same: who
	// wrote the query knows whether it is worth anything then.
	Warning string
}

// AskPrometheus asks a query once, as the loop does for a policy's metric, and with
// its deadline (2 s). ErrNoSeries if it has no result.
func AskPrometheus(ctx context.Context, server *url.URL, query string) (Reading, error) {
	client := probeClient()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, gpuTimeout)
	defer cancel()
	return instant(ctx, client, server, query)
}

// Utilization judges what a gpu.query gives: a percentage.
func Utilization(v float64) error {
	if v < 0 || v > 100 {
		return fmt.Errorf("Prometheus: the query gives %v, want a percentage from 0 to 100", v)
	}
	return nil
}

// instant asks a Prometheus server a query about now and returns the one number
// that it gives. The server's password is in no error.
func instant(ctx context.Context, client *http.Client, server *url.URL, query string) (Reading, error) {
	if server == nil {
		return Reading{}, errNoPrometheus
	}
	body, err := askInstant(ctx, client, server, query)
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if err != nil {
		return Reading{}, fmt.Errorf("Prometheus: %w", unanswered(err, gpuTimeout))
	}
	r, err := readInstant(body, time.Now())
	if err != nil {
		return Reading{}, fmt.Errorf("Prometheus: %w", err)
	}
	return r, nil
}

func askInstant(ctx context.Context, client *http.Client, server *url.URL, query string) ([]byte, error) {
	to := server.JoinPath("api/v1/query")
	to.User = nil
	form := url.Values{"query": {query}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if u := server.User; u != nil {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, promMaximum+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > promMaximum:
		return nil, fmt.Errorf("an answer of more than %d MiB", promMaximum>>20)
	case res.StatusCode != http.StatusOK && !isAnswer(body):
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	return body, nil
}

// isAnswer reports whether a body says itself what is wrong.
func isAnswer(body []byte) bool {
	var a instantAnswer
	return json.Unmarshal(body, &a) == nil && a.Status == "error"
}

// instantAnswer of GET or POST /api/v1/query.
type instantAnswer struct {
	Status   string          `json:"status"`
	Error    string          `json:"error"`
	Warnings json.RawMessage `json:"warnings"` // of texts; what else it may be harms no value
	Data     struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	} `json:"data"`
}

// readInstant finds the one number of an answer, and what it warns of.
func readInstant(body []byte, now time.Time) (Reading, error) {
	var a instantAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return Reading{}, errors.New("its answer is not that of /api/v1/query")
	}
	if a.Status != "success" {
		return Reading{}, errors.New(brief(a.Error, "its answer is not that of /api/v1/query"))
	}
	warning := a.warning()
	v, err := a.number(now)
	if err != nil && warning != "" { // perhaps the reason
		err = fmt.Errorf("%w; it warns: %s", err, warning)
	}
	return Reading{Value: v, Warning: warning}, err
}

// warning is what an answer warns of, short enough for a sentence.
func (a *instantAnswer) warning() string {
	var texts []string
	if json.Unmarshal(a.Warnings, &texts) != nil {
		return ""
	}
	return brief(strings.Join(texts, "; "), "")
}

// number finds the one number of an answer: a scalar, or a vector of one series.
func (a *instantAnswer) number(now time.Time) (float64, error) {
	switch a.Data.Type {
	case "scalar":
		return readPoint(a.Data.Result, now)
	case "vector":
		var series []struct {
			Value json.RawMessage `json:"value"`
		}
		switch err := json.Unmarshal(a.Data.Result, &series); {
		case err != nil:
			return 0, errors.New("its answer is not that of /api/v1/query")
		case len(series) == 0:
			return 0, ErrNoSeries
		case len(series) > 1:
			return 0, fmt.Errorf("the query gives %d series, want one: put avg(…) or sum(…) around it", len(series))
		case series[0].Value == nil:
			return 0, errors.New("the query gives a histogram, want a number")
		}
		return readPoint(series[0].Value, now)
	case "matrix":
		return 0, errors.New("the query gives a range of values, want one: leave out […], or put avg_over_time(…) around it")
	default:
		return 0, fmt.Errorf("the query gives a %s, want a number", brief(a.Data.Type, "result without a type"))
	}
}

// readPoint reads [unix seconds, "value"].
func readPoint(point json.RawMessage, now time.Time) (float64, error) {
	var parts []json.RawMessage
	var at float64
	var text string
	if json.Unmarshal(point, &parts) != nil || len(parts) != 2 ||
		json.Unmarshal(parts[0], &at) != nil || json.Unmarshal(parts[1], &text) != nil {
		return 0, errors.New("its answer is not that of /api/v1/query")
	}
	v, err := strconv.ParseFloat(text, 64)
	switch age := float64(now.UnixMilli())/1000 - at; {
	case err != nil && !math.IsInf(v, 0):
		return 0, fmt.Errorf("the query gives %q, want a number", brief(text, ""))
	case math.Abs(age) > promSkew.Seconds():
		return 0, fmt.Errorf("its answer is of %s: from a cache, or by a wrong clock", time.Unix(int64(at), 0).UTC().Format(time.RFC3339))
	case math.IsNaN(v) || math.IsInf(v, 0):
		return 0, fmt.Errorf("the query gives %v, want a number", v)
	}
	return v, nil
}

// brief is a text of somebody else's, short enough for a sentence, or another one
// in its place.
func brief(text, otherwise string) string {
	const limit = 200
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "")
	if text == "" {
		return otherwise
	}
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}
