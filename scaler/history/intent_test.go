package history_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/redistest"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

var meant = history.Intent{
	Epoch: 3, At: noon, Ref: jobs.Ref{Namespace: "default", Job: "a", Group: "server"}, From: 2, To: 1,
	Victims: []history.Victim{{ID: "r2", Since: noon}}, Reason: "idle", Called: true, Index: 17,
}

// asStored is what was claimed with the times of its intent as they were written,
// which are of another day: those that it came with must be of just now, and as
// far from each other.
func asStored(t *testing.T, written history.Intent, got history.Claimed) history.Claimed {
	t.Helper()
	i := *got.Intent
	ahead := i.At.Sub(written.At)
	if ago := time.Since(i.At); ago < 0 || ago > time.Minute {
		t.Errorf("an intent that was just stored is of %v ago", ago)
	}
	i.At = written.At
	i.Victims = slices.Clone(i.Victims)
	for v := range i.Victims {
		i.Victims[v].Since = i.Victims[v].Since.Add(-ahead)
	}
	if !i.Hold.IsZero() {
		i.Hold = i.Hold.Add(-ahead)
	}
	got.Intent = &i
	return got
}

func TestWhoClaimsAServiceFindsWhatTheLastOneMeantAndRemembered(t *testing.T) {
	h := open(t)
	if _, err := h.Claim(t.Context(), "a", 3); err != nil {
		t.Fatal(err)
	}
	if err := h.Intend(t.Context(), "a", meant); err != nil {
		t.Fatal(err)
	}
	write(t, h, history.Entry{Service: "a", Memory: []byte("m"), Epoch: 3})
	cmd := jobs.Command{Verb: jobs.VerbPause, Reason: "because", By: "ann", At: noon}
	cmd, err := h.Operate(t.Context(), "a", cmd)
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Claim(t.Context(), "a", 4)
	setting, _ := history.Setting{}.Apply(cmd)
	check(t, err, history.Claimed{Memory: []byte("m"), Setting: setting, Intent: &meant}, asStored(t, meant, got))
}

func TestAfterALaterClaimNothingOfAnEarlierScalerIsStored(t *testing.T) {
	h := open(t)
	if _, err := h.Claim(t.Context(), "a", 4); err != nil {
		t.Fatal(err)
	}
	_, claimed := h.Claim(t.Context(), "a", 3)
	for what, err := range map[string]error{
		"claim":  claimed,
		"intend": h.Intend(t.Context(), "a", meant),
		"memory": h.Write(t.Context(), history.Entry{Service: "a", Memory: []byte("m"), Epoch: 3}),
		"told": h.Write(t.Context(), history.Entry{Service: "a", Epoch: 3, Status: &jobs.Status{Name: "a"},
			Decisions: []decide.Decision{{Service: "a", To: 3}}}),
	} {
		var fenced *history.FencedError
		if !errors.As(err, &fenced) || fenced.Epoch != 4 {
			t.Errorf("%s: %v, want the epoch that fences it", what, err)
		}
	}
	got, err := h.Claim(t.Context(), "a", 5)
	check(t, err, history.Claimed{}, got)
	decisions, err := h.Decisions(t.Context(), "", 0)
	statuses, err2 := h.Statuses(t.Context())
	if len(decisions)+len(statuses) > 0 || err != nil || err2 != nil {
		t.Errorf("it is told %v, %v (%v, %v), want nothing", decisions, statuses, err, err2)
	}
}

func TestTheEpochOfAForgottenServiceStillFences(t *testing.T) {
	h := open(t)
	if err := h.Intend(t.Context(), "a", meant); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Claim(t.Context(), "a", 4); err != nil {
		t.Fatal(err)
	}
	if err := h.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := h.Intend(t.Context(), "a", meant); err == nil {
		t.Error("a stale scaler brought a forgotten service back")
	}
	got, err := h.Claim(t.Context(), "a", 5)
	check(t, err, history.Claimed{}, got)
}

func TestAnIntentOfAnotherVersionHidesNothingElse(t *testing.T) {
	server, client := redistest.Redis(t)
	h := history.New(client)
	write(t, h, history.Entry{Service: "a", Memory: []byte("m"), Epoch: 1})
	server.HSet("pl:{a}:intent", "intent", "{")
	got, err := h.Claim(t.Context(), "a", 2)
	if err != nil || string(got.Memory) != "m" || got.Intent != nil || got.Unread == nil {
		t.Errorf("%+v, %v; want the memory, no intent, and why", got, err)
	}
}

func TestAnIntentThatComesLateDoesNotTakeThePlaceOfALaterOne(t *testing.T) {
	h := open(t)
	if _, err := h.Claim(t.Context(), "a", 3); err != nil {
		t.Fatal(err)
	}
	call, drain := meant, meant
	call.Number, drain.Number, drain.Called = 2, 1, false
	for _, i := range []history.Intent{call, drain} {
		if err := h.Intend(t.Context(), "a", i); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.Claim(t.Context(), "a", 4)
	check(t, err, history.Claimed{Intent: &call}, asStored(t, call, got))
	// The next scaler counts from the beginning.
	first := history.Intent{Epoch: 4, Number: 1, At: noon}
	if err := h.Intend(t.Context(), "a", first); err != nil {
		t.Fatal(err)
	}
	got, err = h.Claim(t.Context(), "a", 5)
	check(t, err, history.Claimed{Intent: &first}, asStored(t, first, got))
}
