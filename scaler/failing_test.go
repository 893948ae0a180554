package scaler

import (
	"testing"
	"time"
)

func TestTheErrorRatioIsOfTheLastMinuteAndUnknownWithoutRequests(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		if r := h.status().Errors; r != nil {
			t.Errorf("%v before any request has ended, want unknown", *r)
		}
		h.ledger.ask(4)
		time.Sleep(3 * time.Second)
		if r := h.status().Errors; r == nil || *r != 0 {
			t.Errorf("%v after four good answers, want 0", r)
		}
		h.ledger.set(func() { h.ledger.counters.Completed += 12; h.ledger.counters.Failed += 4 })
		time.Sleep(2 * time.Second)
		if r := h.status().Errors; r == nil || *r != 0.25 {
			t.Errorf("%v after 4 of 16 failed, want 0.25", r)
		}
		h.ledger.set(func() { h.ledger.counters.Completed = 0; h.ledger.counters.Failed = 0; h.ledger.started = time.Now() })
		time.Sleep(2 * time.Second)
		if r := h.status().Errors; r == nil || *r != 0.25 {
			t.Errorf("%v after the activator restarted, want still 0.25", r)
		}
		time.Sleep(time.Minute)
		if r := h.status().Errors; r != nil {
			t.Errorf("%v a minute later, want unknown", *r)
		}
	})
}
