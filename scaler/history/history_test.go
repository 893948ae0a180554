package history_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/internal/redistest"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *history.History {
	t.Helper()
	_, client := redistest.Redis(t)
	return history.New(client)
}

func write(t *testing.T, h *history.History, e history.Entry) {
	t.Helper()
	if err := h.Write(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenIsReadAsItWas(t *testing.T) {
	h := open(t)
	reason := "no free GPU"
	status := jobs.Status{Name: "a", State: jobs.StateBlocked, Blocked: &reason, At: noon,
		Replicas: jobs.ReplicaCounts{Wanted: 2, List: []jobs.Replica{{ID: "r1", Phase: jobs.Starting}}}}
	decision := decide.Decision{Service: "a", At: noon, To: 2, Rule: "backlog", Reason: "20 held", Inputs: map[string]any{"H": 20.0}}
	start := jobs.ColdStart{ID: "r1", Service: "a", StartedAt: noon, Phases: []jobs.ColdStartPhase{{Name: jobs.PhaseLoad, DurMS: 3}}}
	point := jobs.Point{At: noon, Wanted: 2}
	write(t, h, history.Entry{Service: "a", Status: &status, Points: []jobs.Point{point},
		Decisions: []decide.Decision{decision}, ColdStarts: []jobs.ColdStart{start}, Memory: []byte("m")})

	statuses, err := h.Statuses(t.Context())
	check(t, err, []jobs.Status{status}, statuses)
	for _, service := range []string{"a", ""} {
		decisions, err := h.Decisions(t.Context(), service, 10)
		check(t, err, []decide.Decision{decision}, decisions)
		starts, err := h.ColdStarts(t.Context(), service, 10)
		check(t, err, []jobs.ColdStart{start}, starts)
	}
	points, err := h.Timeline(t.Context(), "a", 10)
	check(t, err, []jobs.Point{point}, points)
	memory, err := h.Memory(t.Context(), "a")
	check(t, err, []byte("m"), memory)
}

func TestServiceNeverSeenHasNothing(t *testing.T) {
	h := open(t)
	memory, err := h.Memory(t.Context(), "a")
	check(t, err, []byte(nil), memory)
	setting, err := h.Setting(t.Context(), "a")
	check(t, err, history.Setting{}, setting)
	statuses, err := h.Statuses(t.Context())
	check(t, err, []jobs.Status{}, statuses)
	starts, err := h.ColdStarts(t.Context(), "a", 10)
	check(t, err, []jobs.ColdStart{}, starts)
}

func TestWritingAgainStoresNothingTwice(t *testing.T) {
	h := open(t)
	e := history.Entry{Service: "a", Decisions: []decide.Decision{{Service: "a", At: noon, To: 1}}}
	write(t, h, e)
	write(t, h, e)
	decisions, err := h.Decisions(t.Context(), "", 10)
	if err != nil || len(decisions) != 1 {
		t.Errorf("%d decisions, %v; want 1", len(decisions), err)
	}
}

func TestNewestComeFirstAndTheOldestAreDropped(t *testing.T) {
	h := open(t)
	var decisions []decide.Decision
	for i := range 1100 {
		decisions = append(decisions, decide.Decision{Service: "a", At: noon.Add(time.Duration(i) * time.Second), To: i})
	}
	write(t, h, history.Entry{Service: "a", Decisions: decisions})
	all, err := h.Decisions(t.Context(), "a", 0)
	if err != nil || len(all) != 1000 || all[0].To != 1099 || all[999].To != 100 {
		t.Errorf("%d decisions from %d to %d, %v; want 1000 from 1099 to 100", len(all), all[0].To, all[len(all)-1].To, err)
	}
	two, err := h.Decisions(t.Context(), "a", 2)
	if err != nil || len(two) != 2 || two[0].To != 1099 {
		t.Errorf("%v, %v; want the newest two", two, err)
	}
}

func TestWhatIsWrittenOfOneMomentKeepsItsOrder(t *testing.T) {
	h := open(t)
	write(t, h, history.Entry{Service: "a", Decisions: []decide.Decision{
		{Service: "a", At: noon, From: 1, To: 0}, {Service: "a", At: noon, From: 0, To: 0}, {Service: "a", At: noon, From: 0, To: 9},
	}})
	got, err := h.Decisions(t.Context(), "a", 0)
	if err != nil || len(got) != 3 || got[0].To != 9 || got[2].From != 1 {
		t.Errorf("%+v, %v; want the last one that was written first", got, err)
	}
}

func TestTimelineIsOldestFirstAndTwoHoursLong(t *testing.T) {
	h := open(t)
	for _, minutes := range []int{0, 100, 130} {
		write(t, h, history.Entry{Service: "a", Points: []jobs.Point{{At: noon.Add(time.Duration(minutes) * time.Minute), Held: minutes}}})
	}
	points, err := h.Timeline(t.Context(), "a", 10)
	var held []int
	for _, p := range points {
		held = append(held, p.Held)
	}
	check(t, err, []int{100, 130}, held)
}

func TestForgottenServiceHasNoStatusButItsDecisions(t *testing.T) {
	h := open(t)
	write(t, h, history.Entry{Service: "a", Status: &jobs.Status{Name: "a"}, Memory: []byte("m"),
		Decisions: []decide.Decision{{Service: "a", At: noon}}})
	if err := h.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	statuses, err := h.Statuses(t.Context())
	check(t, err, []jobs.Status{}, statuses)
	memory, err := h.Memory(t.Context(), "a")
	check(t, err, []byte(nil), memory)
	if decisions, err := h.Decisions(t.Context(), "a", 10); err != nil || len(decisions) != 1 {
		t.Errorf("%d decisions, %v; want 1", len(decisions), err)
	}
}

func TestCommandsOfOperatorsAddUp(t *testing.T) {
	server, client := redistest.Redis(t)
	h := history.New(client)
	three := 3
	var pinned, resumed time.Time
	var given []jobs.Command
	for i, step := range []struct {
		cmd  jobs.Command
		want decide.Operator
	}{
		{jobs.Command{Verb: jobs.VerbPin, Replicas: 3}, decide.Operator{Pinned: &three}},
		{jobs.Command{Verb: jobs.VerbPause}, decide.Operator{Pinned: &three, Paused: true}},
		{jobs.Command{Verb: jobs.VerbUnpin}, decide.Operator{Paused: true}},
		{jobs.Command{Verb: jobs.VerbSleep}, decide.Operator{Paused: true, Asleep: true, SleepAt: noon.Add(3 * time.Minute)}},
		{jobs.Command{Verb: jobs.VerbResume}, decide.Operator{SleepAt: noon.Add(3 * time.Minute)}},
		{jobs.Command{Verb: jobs.VerbSleep}, decide.Operator{Asleep: true, SleepAt: noon.Add(5 * time.Minute)}},
		{jobs.Command{Verb: jobs.VerbWake}, decide.Operator{WakeAt: noon.Add(6 * time.Minute), SleepAt: noon.Add(5 * time.Minute)}},
	} {
		step.cmd.At, step.cmd.By, step.cmd.Reason = noon.Add(time.Duration(i)*time.Minute), "ann", "because"
		step.want.By, step.want.Reason = "ann", "because"
		switch step.cmd.Verb {
		case jobs.VerbPin, jobs.VerbUnpin:
			pinned = step.cmd.At
		case jobs.VerbResume:
			resumed = step.cmd.At
		}
		server.SetTime(step.cmd.At)
		sent := step.cmd
		sent.At = noon.Add(time.Hour) // by a clock that is wrong
		if done, err := h.Operate(t.Context(), "a", sent); err != nil || done != step.cmd {
			t.Fatalf("%+v, %v; want what was sent, stamped by Redis' clock", done, err)
		}
		given = append(given, step.cmd)
		setting, err := h.Setting(t.Context(), "a")
		check(t, err, history.Setting{Operator: step.want, Last: step.cmd, Pinned: pinned, Resumed: resumed,
			Commands: len(given), Recent: given}, setting)
	}
}

func TestTheNewestCommandsAreKeptForWhoHasNotRecordedThemYet(t *testing.T) {
	var s history.Setting
	for i := range 50 {
		s, _ = s.Apply(jobs.Command{Verb: jobs.VerbPin, Replicas: i})
	}
	for recorded, want := range map[int][]int{50: nil, 60: nil, 48: {48, 49}} {
		var got []int
		for _, cmd := range s.Since(recorded) {
			got = append(got, cmd.Replicas)
		}
		check(t, nil, want, got)
	}
	if n := len(s.Since(0)); n != 20 {
		t.Errorf("%d kept, want 20", n)
	}
}

func TestWrongCommandIsRefused(t *testing.T) {
	h := open(t)
	for _, cmd := range []jobs.Command{{Verb: "explode"}, {Verb: jobs.VerbPin, Replicas: -1}} {
		if _, err := h.Operate(t.Context(), "a", cmd); !errors.Is(err, history.ErrBadCommand) {
			t.Errorf("%v: %v, want %v", cmd, err, history.ErrBadCommand)
		}
	}
}

func TestCommandsAtTheSameTimeAreAllObeyed(t *testing.T) {
	h := open(t)
	var wait sync.WaitGroup
	for _, verb := range []string{jobs.VerbPause, jobs.VerbSleep, jobs.VerbPin} {
		wait.Go(func() {
			if _, err := h.Operate(t.Context(), "a", jobs.Command{Verb: verb, At: noon}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	s, err := h.Setting(t.Context(), "a")
	if err != nil || !s.Operator.Paused || !s.Operator.Asleep || s.Operator.Pinned == nil {
		t.Errorf("%+v, %v; want paused, asleep and pinned", s.Operator, err)
	}
}

func TestChangesAreToldAsTheyHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		var heard, operated []string
		done := make(chan error, 2)
		go func() {
			done <- h.Changes(ctx, func(topic, service string) { heard = append(heard, topic+" "+service) })
		}()
		go func() {
			done <- h.Operated(ctx, func(service string) { operated = append(operated, service) })
		}()
		synctest.Wait()
		write(t, h, history.Entry{Service: "a", Status: &jobs.Status{Name: "a"}, Decisions: []decide.Decision{{At: noon}}})
		synctest.Wait()
		if _, err := h.Operate(t.Context(), "a", jobs.Command{Verb: jobs.VerbWake}); err != nil {
			t.Fatal(err)
		}
		if err := h.Announce(t.Context(), history.TopicPolicy, "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // longer than a subscription may be silent
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		check(t, nil, []string{"status ", "status a", "decision a", "policy a"}, heard)
		check(t, nil, []string{"", "a"}, operated)
	})
}

func TestSubscriptionSurvivesARestartOfRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := redistest.Redis(t)
		h := history.New(client)
		ctx, cancel := context.WithCancel(t.Context())
		var heard []string
		done := make(chan error, 1)
		go func() {
			done <- h.Changes(ctx, func(topic, service string) { heard = append(heard, topic+" "+service) })
		}()
		synctest.Wait()
		server.Close()
		time.Sleep(3 * time.Second)
		write(t, h, history.Entry{Service: "a", Status: &jobs.Status{Name: "a"}})
		synctest.Wait()
		cancel()
		<-done
		check(t, nil, []string{"status ", "status ", "status a"}, heard)
	})
}

func TestUnreachableRedisIsAnError(t *testing.T) {
	server, client := redistest.Redis(t)
	h := history.New(client)
	server.SetError("LOADING Redis is loading the dataset in memory")
	calls := map[string]error{}
	calls["Write"] = h.Write(t.Context(), history.Entry{Service: "a", Memory: []byte("m")})
	_, calls["Statuses"] = h.Statuses(t.Context())
	_, calls["ColdStarts"] = h.ColdStarts(t.Context(), "", 1)
	_, calls["Memory"] = h.Memory(t.Context(), "a")
	_, calls["Setting"] = h.Setting(t.Context(), "a")
	_, calls["Operate"] = h.Operate(t.Context(), "a", jobs.Command{Verb: jobs.VerbWake})
	calls["Forget"] = h.Forget(t.Context(), "a")
	for name, err := range calls {
		if err == nil {
			t.Errorf("%s reported no error", name)
		}
	}
}

func check(t *testing.T, err error, want, got any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func ExampleSetting_Apply() {
	s, _ := history.Setting{}.Apply(jobs.Command{Verb: jobs.VerbPause, By: "ann", Reason: "maintenance"})
	fmt.Println(s.Operator.Paused, s.Operator.By)
	// Output: true ann
}

func TestAServiceAtRestIsAsOfTheScalersLastBeat(t *testing.T) {
	h := open(t)
	heard := noon.Add(-2 * time.Second)
	rest := jobs.Status{Name: "rest", State: jobs.StateZero, At: noon, FleetAt: &heard}
	busy := jobs.Status{Name: "busy", State: jobs.StateReady, At: noon, Replicas: jobs.ReplicaCounts{Wanted: 1}}
	for _, st := range []jobs.Status{rest, busy} {
		write(t, h, history.Entry{Service: st.Name, Status: &st})
	}
	later := noon.Add(time.Hour)
	beat := func(since time.Time) []jobs.Status {
		t.Helper()
		if err := h.Beat(t.Context(), since, later); err != nil {
			t.Fatal(err)
		}
		list, err := h.Statuses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := beat(noon.Add(-time.Minute))
	lifted := rest
	heardLater := later.Add(-2 * time.Second)
	lifted.At, lifted.FleetAt = later, &heardLater
	check(t, nil, []jobs.Status{busy, lifted}, list)
	// Another scaler leads by now and has said nothing of it.
	check(t, nil, []jobs.Status{busy, rest}, beat(noon.Add(time.Minute)))
}
