package scaler

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// failing launches one replica that fails at once, whose log is still to be read.
func (h *house) failing() {
	h.t.Helper()
	h.fleet.set(func() { h.fleet.load = time.Hour })
	h.ledger.ask(1)
	within(h.t, time.Second, "launched", func() bool { return h.fleet.placements() == 1 })
	h.fleet.alter("alloc-1", func(a *jobs.Allocation) {
		a.Client, a.Failure, a.LogDue, a.Finished = jobs.ClientFailed, "exit code 3", true, time.Now()
	})
}

func (h *house) blockedBy() string {
	st := h.status()
	if st.State != jobs.StateBlocked {
		return ""
	}
	return words(st.Blocked)
}

func TestAFailedStartIsNotToldBeforeItsLogLinesAreThere(t *testing.T) {
	const words = "exit code 3; last log: boom"
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.failing()
		died := time.Now()
		pass(1500 * time.Millisecond)
		if why := h.blockedBy(); why != "" {
			t.Errorf("blocked by %q while the log is read: those who wait were told half of it", why)
		}
		h.fleet.alter("alloc-1", func(a *jobs.Allocation) { a.Failure, a.LogDue = words, false })
		within(t, 300*time.Millisecond, "blocked", func() bool { return h.blockedBy() != "" })
		if why := h.blockedBy(); why != words {
			t.Errorf("blocked by %q, want the log lines too", why)
		}
		if pause := h.status().BlockedUntil.Sub(died); pause < 29*time.Second || pause > 31*time.Second {
			t.Errorf("the next start is tried %v after the end, want 30s: the pause does not begin with the log", pause)
		}
		pass(time.Second)
		if text := h.decisionTexts(); !strings.Contains(text, "boom") {
			t.Errorf("no decision says what the log said:\n%s", text)
		}
		if starts, err := h.history.ColdStarts(t.Context(), "translate", 0); err != nil || len(starts) != 1 || starts[0].Failure != words {
			t.Errorf("cold starts %+v (%v), want one that failed by %q", starts, err, words)
		}
	})
}

func TestAFailedStartIsToldWithoutLogLinesThatDoNotComeAndCorrectedIfTheyDo(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.failing()
		within(t, 3*time.Second, "blocked", func() bool { return h.blockedBy() == "exit code 3" })
		pass(time.Second)
		h.fleet.alter("alloc-1", func(a *jobs.Allocation) { a.Failure, a.LogDue = "exit code 3; last log: boom", false })
		within(t, 300*time.Millisecond, "the log lines", func() bool { return h.blockedBy() == "exit code 3; last log: boom" })
	})
}

func TestAFailedStartIsCountedThoughItsAllocationIsForgottenBeforeItsLogIsRead(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		h.failing()
		pass(100 * time.Millisecond)
		h.fleet.set(func() {
			ref := h.fleet.allocs[0].Ref
			h.fleet.allocs = nil
			h.fleet.tell(ref)
		})
		within(t, time.Second, "blocked", func() bool { return h.blockedBy() == "exit code 3" })
	})
}

// decisionTexts are the reasons of all stored decisions, a line each.
func (h *house) decisionTexts() string {
	h.t.Helper()
	all, err := h.history.Decisions(h.t.Context(), "translate", 0)
	if err != nil {
		h.t.Fatal(err)
	}
	var lines []string
	for _, d := range all {
		lines = append(lines, d.Reason)
	}
	return strings.Join(lines, "\n")
}
