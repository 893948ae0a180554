package scaler

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

func TestTheStateNeverContradictsWhatItIsAbout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		s := drawService(t, now)
		s.phases(now)
		st := s.status(now)
		n, paused := st.Replicas, s.setting.Operator.Paused
		alive := n.Starting + n.Ready + n.Draining + n.Pending
		fail := func(what string) {
			t.Fatalf("%s: state %s, %+v, blocked by %q until %v, ready in %v", what, st.State, n, words(st.Blocked), st.BlockedUntil, st.ETA)
		}
		switch {
		case paused != (st.State == jobs.StatePaused) && s.out == nil && s.pinnedToZero() == "":
			fail("paused by an operator, and only then")
		case paused && st.State != jobs.StatePaused:
			fail("paused is paused")
		case st.State == jobs.StateReady && n.Ready == 0, n.Ready > 0 && st.State != jobs.StateReady && !paused:
			fail("ready means that something is ready")
		case st.State == jobs.StateZero && (alive > 0 || n.Wanted > 0):
			fail("zero means that nothing lives and nothing is wanted")
		case st.State == jobs.StateWaking && (n.Wanted == 0 || n.Ready > 0):
			fail("waking means that something is wanted and nothing ready")
		case st.State == jobs.StateDraining && (n.Wanted > 0 || alive == 0):
			fail("draining means that nothing is wanted and something lives")
		case st.State == jobs.StateBlocked && st.Blocked == nil:
			fail("blocked says why")
		case st.State == jobs.StateBlocked && n.Wanted == 0 && st.BlockedUntil == nil:
			fail("blocked without anything wanted only until a next try")
		case st.State == jobs.StateBlocked && n.Ready > 0:
			fail("blocked means that nothing is ready")
		case st.ETA != nil && st.State != jobs.StateWaking:
			fail("only a wake has a time of arrival")
		case st.BlockedUntil != nil && (st.State != jobs.StateBlocked || !st.BlockedUntil.After(now)):
			fail("a next try belongs to what is blocked, and lies ahead")
		case s.out != nil && (n.Pending > len(s.replicas) || st.State != jobs.StatePaused && n.Ready == 0):
			fail("of a job that is away nothing is on its way, and its service is paused")
		case s.out != nil && st.Blocked == nil:
			fail("away says why")
		case (st.State == jobs.StateBlocked) && s.obstacle(now).kind == "":
			fail("what blocks has a kind")
		}
		for i := 1; i < len(st.Notices); i++ {
			if st.Notices[i].Since.After(st.Notices[i-1].Since) {
				t.Fatalf("notices out of order: %v", st.Notices)
			}
		}
		if again := s.status(now.Add(time.Minute)); len(again.Notices) > 0 && len(st.Notices) > 0 &&
			again.Notices[0].Kind == st.Notices[0].Kind && !again.Notices[0].Since.Equal(st.Notices[0].Since) {
			t.Fatalf("the same notice begins anew: %v, then %v", st.Notices[0], again.Notices[0])
		}
	})
}

// drawService is a service in any state that its parts can be in together.
func drawService(t *rapid.T, now time.Time) *service {
	flip := func(name string) bool { return rapid.Bool().Draw(t, name) }
	s := &service{
		ses: &session{cfg: Config{}.withDefaults()}, policy: policy(nil), replicas: map[string]*replica{},
		latencies: latencies{}, now: now, starts: []float64{10, 20},
	}
	s.seen.At = now
	for i := range rapid.IntRange(0, 3).Draw(t, "allocations") {
		a := jobs.Allocation{
			ID: string(rune('a' + i)), Index: i, Node: "n",
			Desired:      rapid.SampledFrom([]string{jobs.DesiredRun, jobs.DesiredRun, jobs.DesiredStop, "evict"}).Draw(t, "desired"),
			Client:       rapid.SampledFrom([]string{jobs.ClientPending, jobs.ClientRunning, jobs.ClientRunning, jobs.ClientUnknown}).Draw(t, "client"),
			NodeDraining: rapid.IntRange(0, 4).Draw(t, "node draining") == 0,
		}
		if flip("has an address") {
			a.Address = "10.0.0.1:80"
		}
		r := &replica{alloc: a, answers: flip("answers")}
		if rapid.IntRange(0, 4).Draw(t, "draining") == 0 {
			r.draining = now
		}
		if rapid.IntRange(0, 4).Draw(t, "failed") == 0 {
			r.failed = "exit code 1"
		}
		s.replicas[a.ID] = r
		s.seen.Allocations = append(s.seen.Allocations, a)
	}
	s.seen.Count = rapid.IntRange(0, 3).Draw(t, "count")
	s.decision.To = rapid.IntRange(0, 3).Draw(t, "wanted")
	op := decide.Operator{Paused: rapid.IntRange(0, 3).Draw(t, "paused") == 0}
	if rapid.IntRange(0, 3).Draw(t, "pinned") == 0 {
		op.Pinned, s.decision.To = new(int), 0
	}
	s.setting = history.Setting{Operator: op}
	switch rapid.IntRange(0, 9).Draw(t, "in the way") {
	case 0:
		s.out, s.decision.To = &out{Rule: ruleStopped, Why: "stopped by ann", Since: now.Add(-time.Minute)}, 0
	case 1:
		s.out, s.decision.To = &out{Rule: rulePurged, Why: "purged", Since: now.Add(-time.Minute)}, 0
	case 2:
		s.seen.Blocked = "no free GPU"
	case 3:
		s.decision.BrakeUntil, s.failures.Reason = now.Add(time.Minute), "exit code 1"
	case 4:
		s.blind = errors.New("connection refused")
	case 5:
		s.refused = obstacle{kindDeployment, "waits for a deployment"}
	case 6:
		s.seen.At, s.silent = now.Add(-time.Minute), true
	case 7:
		s.cannot, s.cannotKind, s.ensureAfter = "no such driver", kindCannot, now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "next try"))*time.Second)
	}
	if rapid.IntRange(0, 4).Draw(t, "by hand") == 0 && s.out == nil {
		s.hand = &decide.Hand{Count: rapid.IntRange(0, 2).Draw(t, "count by hand"), At: now, Until: now.Add(time.Hour)}
		s.decision.To = s.hand.Count
	}
	return s
}
