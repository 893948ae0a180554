package web

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

func TestDecisionsThatChangedNothingAreLeftOutUnlessAPersonOrAFaultCausedThem(t *testing.T) {
	s, services, _ := newTestServer(t)
	now := time.Now()
	var stored []decide.Decision
	for i, rule := range []string{"idle", "level", "any-demand", "load", "max", "min", "asleep", "brake", "down-gate", "paused", "pinned", "unknown-demand", "wake"} {
		stored = append(stored, decide.Decision{Service: "translate", At: now.Add(-time.Duration(i) * time.Second), From: 1, To: 1, Rule: rule, Reason: "the rule " + rule})
	}
	stored = append(stored, decide.Decision{Service: "translate", At: now.Add(-time.Hour), From: 1, To: 0, Rule: "to-zero", Reason: "the rule to-zero"})
	services.set(func(f *fakeServices) { f.decided = stored })

	var rules []string
	for _, d := range decode[[]decide.Decision](t, call(s, "GET", "/api/v1/decisions", "")) {
		rules = append(rules, d.Rule)
	}
	want := []string{"asleep", "brake", "down-gate", "paused", "pinned", "unknown-demand", "wake", "to-zero"}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("API (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/decisions", "/services/translate"} {
		body := call(s, "GET", path, "").Body.String()
		for _, d := range stored {
			told := strings.Contains(body, d.Reason)
			if want := strings.Contains(strings.Join(want, " "), d.Rule); told != want {
				t.Errorf("%s tells %q: %v, want %v", path, d.Rule, told, want)
			}
		}
	}
}

func TestTheLimitIsFilledFromBeyondDecisionsThatAreLeftOut(t *testing.T) {
	s, services, _ := newTestServer(t)
	var stored []decide.Decision
	for i := range 900 {
		d := decide.Decision{Service: "translate", At: time.Now().Add(-time.Duration(i) * time.Second), Rule: "idle"}
		if i%100 == 99 {
			d.To, d.Rule = 1, "any-demand"
		}
		stored = append(stored, d)
	}
	services.set(func(f *fakeServices) { f.decided = stored })
	for limit, want := range map[string]int{"1": 1, "8": 8, "50": 9} {
		if got := decode[[]decide.Decision](t, call(s, "GET", "/api/v1/decisions?limit="+limit, "")); len(got) != want {
			t.Errorf("limit %s: %d decisions, want %d", limit, len(got), want)
		}
	}
}

func TestUnpinIsOfferedWhileAPinIsInForce(t *testing.T) {
	for _, test := range []struct {
		name  string
		rules []string // newest first
		want  bool
	}{
		{"no decision yet", nil, false},
		{"the policy decides", []string{"any-demand"}, false},
		{"pinned", []string{"pinned", "idle"}, true},
		{"unpinned, and nothing to do", []string{"idle", "pinned"}, false},
		{"pinned, and the brake holds", []string{"brake", "pinned"}, true},
		{"pinned, and paused", []string{"paused", "pinned"}, true},
		{"paused", []string{"paused", "to-zero"}, false},
	} {
		s, services, _ := newTestServer(t)
		services.set(func(f *fakeServices) {
			f.statuses = []jobs.Status{readyStatus("translate", time.Now())}
			for _, rule := range test.rules {
				f.decided = append(f.decided, decide.Decision{Service: "translate", From: 1, To: 1, Rule: rule})
			}
		})
		body := call(s, "GET", "/services/translate", "").Body.String()
		if got := strings.Contains(body, "/services/translate/unpin"); got != test.want {
			t.Errorf("%s: Unpin offered %v, want %v", test.name, got, test.want)
		}
		if !strings.Contains(body, "/services/translate/pin") {
			t.Errorf("%s: Pin is not offered", test.name)
		}
	}
}

func TestUnpinIsOfferedWhenTheDecisionsCannotBeRead(t *testing.T) {
	s, services, _ := lived(t)
	wantStatus(t, call(s, "GET", "/services/translate", ""), 200)
	services.set(func(f *fakeServices) { f.err = io.ErrUnexpectedEOF })
	if body := call(s, "GET", "/services/translate", "").Body.String(); !strings.Contains(body, "/services/translate/unpin") {
		t.Error("it is not")
	}
}
