package main

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/web"
)

func TestNoteSaysWhatMattersMost(t *testing.T) {
	at := time.Date(2026, 9, 7, 8, 0, 0, 0, time.UTC)
	blocked := jobs.Status{Blocked: new("no free GPU"), ETA: new(50.0)}
	for _, c := range []struct {
		name string
		info web.ServiceInfo
		want string
	}{
		{"nothing", web.ServiceInfo{At: &at}, ""},
		{"never reported", web.ServiceInfo{Stale: true, Status: blocked}, "not reported yet"},
		{"reported long ago", web.ServiceInfo{At: &at, Stale: true, Status: blocked}, "not reported since 2026-09-07 08:00:00Z"},
		{"blocked", web.ServiceInfo{At: &at, Status: blocked}, "no free GPU"},
		{"paused while ready", web.ServiceInfo{At: &at, Status: jobs.Status{Paused: new("paused by ann: maintenance")}}, "paused by ann: maintenance"},
		{"paused at zero", web.ServiceInfo{At: &at, Status: jobs.Status{Paused: new("paused by ann"), Blocked: new("paused by ann")}}, "paused by ann"},
		{"paused and purged", web.ServiceInfo{At: &at, Status: jobs.Status{Paused: new("paused by ann"), Blocked: new("the job was purged")}}, "paused by ann; the job was purged"},
		{"starting", web.ServiceInfo{At: &at, Status: jobs.Status{ETA: new(50.0)}}, "ready in about 50 s"},
	} {
		if got := noteOn(c.info); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.256: "0.26", 3.5: "3.5", 61.54: "61.5", 1234.5: "1235", 44: "44"} {
		if got := number(&n, ""); got != want {
			t.Errorf("%v: %q, want %q", n, got, want)
		}
	}
	if got := number(nil, " ms"); got != "-" {
		t.Errorf("unknown is %q", got)
	}
}
