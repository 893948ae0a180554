package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

// several is what pilotlight serve is for: every role in a process of its own.
type several struct {
	server     *redisServer
	args       []string
	activators [2]*house
	scaler     *house
	web        *house
}

func startSeveral(t *testing.T, services pairs) *several {
	t.Helper()
	s := &several{server: startRedis(t)}
	s.args = append(services.arguments(t), "--redis", s.server.URL(), "--fleet", "local")
	s.scaler = startServe(t, "scaler", s.args...)
	s.web = startServe(t, "web", s.args...)
	for i := range s.activators {
		s.activators[i] = startServe(t, "activator", s.args...)
	}
	return s
}

func TestBurstsThroughTwoActivatorsAreAnsweredAndNoReplicaGetsMoreThanItsSlots(t *testing.T) {
	t.Parallel()
	const each, concurrency = 60, 3
	s := startSeveral(t, pairs{"translate": {
		policy: policyOf("translate", replicas(0, 2, concurrency), toZero("10m")),
		job:    stubJob("translate", "--load", "300ms", "--latency", "40ms"),
	}})
	for round := range 2 { // the first one cold, the second one warm
		var answers []later
		for i := range 2 * each {
			text := fmt.Sprint("round ", round, " text ", i)
			answers = append(answers, inBackground(func() answer {
				return s.activators[i%2].translate(t.Context(), "/translate", text)
			}))
		}
		for i, l := range answers {
			if err := l.get(t).check(fmt.Sprint("round ", round, " text ", i)); err != nil {
				t.Errorf("round %d, request %d: %v", round, i, err)
			}
		}
	}
	st := s.web.awaitService(t, "translate", "ready with two replicas", ready(2))
	total := 0
	for _, r := range st.Replicas.List {
		stats := statsOf(t, r.Address)
		if stats.MaxInFlight > concurrency {
			t.Errorf("replica %s was once given %d requests, want at most %d", r.ID, stats.MaxInFlight, concurrency)
		}
		total += int(stats.Finished)
	}
	if total != 4*each {
		t.Errorf("%d executions for %d requests", total, 4*each)
	}
}

func TestWhenAnActivatorIsKilledTheOtherGoesOnAndGetsItsSlots(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "executions")
	s := startSeveral(t, pairs{
		"translate": {policyOf("translate", replicas(0, 1, 2), toZero("10m")),
			stubJob("translate", "--latency", "1500ms", "--log-file", log)},
	})
	doomed, other := s.activators[0], s.activators[1]
	var lost []later
	for i := range 2 { // all slots that there are
		lost = append(lost, inBackground(func() answer { return doomed.translate(t.Context(), "/translate", fmt.Sprint("lost ", i)) }))
	}
	await(t, "both slots to be in use", func() error {
		if n := count(executions(t, log), stub.EventStarted, ""); n != 2 {
			return fmt.Errorf("%d executions", n)
		}
		return nil
	})
	doomed.kill()
	dead := time.Now()
	for _, l := range lost {
		if a := l.get(t); a.err == nil {
			t.Errorf("an answer from a killed activator: %+v", a)
		}
	}
	if err := other.translate(t.Context(), "/translate", "survivor").check("survivor"); err != nil {
		t.Errorf("through the other activator: %v", err)
	}
	returned := time.Since(dead)
	t.Logf("answered through the other one %v after the kill", returned)
	if most := 6*time.Second + 1500*time.Millisecond + machineSlack; returned > most {
		t.Errorf("its slots came back only after %v, want at most the lease, a heartbeat and the answer's own time", returned)
	}
	// Both slots, not one of them.
	both := []later{}
	for i := range 2 {
		both = append(both, inBackground(func() answer { return other.translate(t.Context(), "/translate", fmt.Sprint("both ", i)) }))
	}
	for i, l := range both {
		if err := l.get(t).check(fmt.Sprint("both ", i)); err != nil {
			t.Error(err)
		}
	}
	st := s.web.service(t, "translate")
	if len(st.Replicas.List) != 1 {
		t.Fatalf("replicas %s, want the one of before", short(st))
	}
	if stats := statsOf(t, st.Replicas.List[0].Address); stats.MaxInFlight > 2 {
		t.Errorf("the replica was once given %d requests, want at most 2", stats.MaxInFlight)
	}
}

func TestWhenTheScalerIsKilledAStandbyTakesOverAndForgetsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		shared bool
	}{
		{"with a fleet of its own", false},
		{"in the same state folder", true}, // the default of both
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startSeveral(t, pairs{
				"translate": {policyOf("translate", replicas(0, 1, 2), toZero("10m")), stubJob("translate")},
			})
			home := t.TempDir()
			if c.shared {
				home = s.scaler.home
			}
			standby := startServeIn(t, home, "scaler", s.args...)
			standby.shared, s.scaler.shared = c.shared, c.shared
			client := s.activators[0]
			if err := client.translate(t.Context(), "/translate", "before").check("before"); err != nil {
				t.Fatal(err)
			}
			await(t, "the cold start to be kept", func() error {
				memory, err := s.server.Client.Get(t.Context(), "pl:{translate}:scaler").Result()
				if err != nil || !strings.Contains(memory, `"starts"`) || len(s.web.coldStarts(t, "translate")) == 0 {
					return fmt.Errorf("not yet: %s %v", memory, err)
				}
				return nil
			})
			if err := standby.running(); err != nil {
				t.Fatalf("the standby: %v", err)
			}
			if got := standby.metric(t, "pilotlight_leader")[`role="scaler"`]; got != "0" {
				t.Errorf("pilotlight_leader of the standby is %q", got)
			}

			s.scaler.kill()
			dead := time.Now()
			await(t, "the standby to lead", func() error {
				if err := standby.running(); err != nil {
					t.Fatalf("the standby: %v", err)
				}
				if got := standby.metric(t, "pilotlight_leader")[`role="scaler"`]; got != "1" {
					return fmt.Errorf("pilotlight_leader is %q", got)
				}
				return nil
			})
			took := time.Since(dead)
			t.Logf("leads %v after the kill", took)
			if took > 3*time.Second+machineSlack {
				t.Errorf("took over after %v, want less than 3s", took)
			}
			// Its fleet died with it; whoever comes now is held and answered.
			if err := client.translate(t.Context(), "/translate", "after").check("after"); err != nil {
				t.Errorf("after the takeover: %v", err)
			}
			st := s.web.awaitService(t, "translate", "ready again", ready(1))
			if st.PolicyVersion != 1 || st.Cold.Count < 1 {
				t.Errorf("%s, want policy version 1 and the cold start of before", short(st))
			}
			if list := s.web.coldStarts(t, "translate"); list[len(list)-1].Outcome != jobs.OutcomeAnswered {
				t.Errorf("the cold start of before: %+v", list)
			}
		})
	}
}

func TestAnActivatorThatIsToldToStopHandsItsSlotsBackAtOnce(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, pairs{
		"translate": {policyOf("translate", replicas(0, 1, 2), toZero("10m")), stubJob("translate", "--latency", "50ms")},
	})
	leaving, other := s.activators[0], s.activators[1]
	for i := range 3 { // it leases what is free
		if err := leaving.translate(t.Context(), "/translate", fmt.Sprint(i)).check(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	leaving.signal(syscall.SIGTERM)
	if code := leaving.exit(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a := other.translate(ctx, "/translate", "next")
	if err := a.check("next"); err != nil {
		t.Fatal(err)
	}
	t.Logf("answered after %v", a.took)
	if a.took > machineSlack {
		t.Errorf("answered only after %v: it waited for the lease of one who has left in order", a.took)
	}
}
