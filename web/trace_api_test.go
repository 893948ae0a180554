package web

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// fakeRecordings has the hours it is given, and was there all the time but for
// lacking.
type fakeRecordings struct {
	hours   map[string][]jobs.RecordedHour
	lacking time.Duration
	err     error
}

func (f *fakeRecordings) Recorded(_ context.Context, service string, from, to time.Time) ([]jobs.RecordedHour, error) {
	var list []jobs.RecordedHour
	for _, h := range f.hours[service] {
		if h.Start.Add(time.Hour).After(from) && h.Start.Before(to) {
			list = append(list, h)
		}
	}
	return list, f.err
}

func (f *fakeRecordings) Covered(_ context.Context, from, to time.Time) (time.Duration, error) {
	return to.Sub(from) - f.lacking, f.err
}

// oneHour has six requests at 9:20 that take about 2 s.
func oneHour() jobs.RecordedHour {
	h := jobs.RecordedHour{Start: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}
	h.Arrive(h.Start.Add(20*time.Minute), 6)
	h.Took(2, 6)
	return h
}

func TestRecordedDemandIsExportedAsATrace(t *testing.T) {
	s, services, _ := newTestServer(t, func(c *Config) {
		c.Recordings = &fakeRecordings{hours: map[string][]jobs.RecordedHour{"translate": {oneHour()}}, lacking: time.Minute}
	})
	const export = "/api/v1/services/translate/trace?from=2026-11-20T09:00:00Z&to=2026-11-20T11:00:00Z"
	if h := call(s, "GET", export, "").Header(); h.Get(headerTraceStart) != "" {
		t.Errorf("without cold starts: headers %v", h)
	}
	services.set(func(f *fakeServices) {
		for i := range 3 {
			f.starts = append(f.starts, coldStart("translate", fmt.Sprint(i), tuesday, 5, 500, 0, 1500, 20_000+1000*float64(i), 10, 800))
		}
	})
	if h := call(s, "GET", export, "").Header(); h.Get(headerTraceStart) != "23.0" {
		t.Errorf("three starts took 22, 23 and 24 s: headers %v", h)
	}
	const window = "?from=2026-11-20T09:10:30Z&to=2026-11-20T11:00:00Z"
	for target, want := range map[string]string{
		window:                   "minute,service,count,second,slot_ms\n10,translate,6,0,2048x6\n",
		window + "&form=steps":   "minute,service,count,second,slot_ms\n10,translate,6,0,2048x6\n",
		window + "&form=minutes": "minute,service,count\n10,translate,6\n",
		"?from=2026-11-20T10:00:00Z&to=2026-11-20T11:00:00Z": "minute,service,count,second,slot_ms\n",
	} {
		w := call(s, "GET", "/api/v1/services/translate/trace"+target, "", "Accept-Encoding: gzip")
		wantStatus(t, w, 200)
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v; want %q", target, text, err, want)
		}
		if strings.HasPrefix(target, window) {
			h := w.Header()
			if h.Get("Content-Type") != "application/gzip" || h.Get("Content-Encoding") != "" ||
				h.Get(headerTraceBegins) != "2026-11-20T09:10:00Z" || h.Get(headerTraceCovered) != "6540" {
				t.Errorf("%s: headers %v", target, h)
			}
		}
	}
}

func TestAWindowThatMeansNothingIsRefusedWithWhatIsAllowed(t *testing.T) {
	recordings := &fakeRecordings{}
	s, _, _ := newTestServer(t, func(c *Config) { c.Recordings = recordings })
	for query, want := range map[string]string{
		"?last=week":                         `last is \"week\"; allowed: 1m to 360h`,
		"?last=10s":                          "last is",
		"?last=361h":                         "last is",
		"?last=NaNs":                         "last is",
		"?from=monday":                       `from is \"monday\"; allowed: a moment such as`,
		"?last=1h&from=2026-11-20T09:10:30Z": "last and from are both given",
		"?from=2026-11-20T09:10:30Z&to=2026-11-20T08:00:00Z": "from is not before to",
		"?from=2026-10-20T09:10:30Z&to=2026-11-20T08:00:00Z": "longer than 360h",
		"?form=rows": "form is",
	} {
		w := call(s, "GET", "/api/v1/services/translate/trace"+query, "")
		if w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s", query, w.Code, w.Body, want)
		}
	}
	wantStatus(t, call(s, "GET", "/api/v1/services/translate/trace?last=24h", ""), 200)
	wantStatus(t, call(s, "GET", "/api/v1/services/nobody/trace", ""), 404)
	recordings.err = errors.New("connection refused")
	wantStatus(t, call(s, "GET", "/api/v1/services/translate/trace", ""), 503)
}
