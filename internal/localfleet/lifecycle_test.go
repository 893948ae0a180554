package localfleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// alive reports whether a process is there and not a zombie.
func alive(pid int) bool {
	_, ok := startTime(pid)
	return ok
}

func waitGone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, "the end of process", func() error {
			if alive(pid) {
				return fmt.Errorf("process %d lives", pid)
			}
			return nil
		})
	}
}

func getPID(t *testing.T, address, path string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(get(t, address, path)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAStoppedTaskGetsItsKillSignal(t *testing.T) {
	for name, want := range map[string]string{"": "SIGINT", "SIGTERM": "SIGTERM", "sigusr1": "SIGUSR1"} {
		t.Run("kill_signal="+name, func(t *testing.T) {
			r := startFleet(t, nil)
			spec := testSpec("server", nil)
			spec.Groups[0].Tasks[0].KillSignal = name
			r.ensure(spec)
			r.scale(1)
			a := r.one("running", isRunning)
			get(t, a.Address, "/")
			r.scale(0)
			r.until("gone", func(o jobs.Observation) bool { return len(o.Allocations) == 1 && o.Allocations[0].Terminal() })
			if _, err := os.Stat(filepath.Join(r.allocsDir(), a.ID, "alloc", want)); err != nil {
				t.Errorf("the task did not see %s: %v", want, err)
			}
		})
	}
}

func TestAStoppedTaskMayFinishItsWorkWithinItsKillTimeout(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", map[string]string{"LINGER": "yes"}))
	r.scale(1)
	a := r.one("running", isRunning)
	get(t, a.Address, "/")
	r.scale(0)
	eventually(t, "the signal", func() error {
		_, err := os.Stat(filepath.Join(r.allocsDir(), a.ID, "alloc", "SIGINT"))
		return err
	})
	stopping := r.one("stopping", isRunning)
	if stopping.Desired != jobs.DesiredStop || stopping.MayServe() || !stopping.Finished.IsZero() {
		t.Errorf("while it finishes: got %+v, want it running but not wanted", stopping)
	}
	get(t, a.Address, "/finish")
	o := r.until("gone", func(o jobs.Observation) bool { return o.Allocations[0].Terminal() })
	if end := o.Allocations[0]; end.Client != jobs.ClientComplete || end.Failure != "" {
		t.Errorf("got %+v, want it complete without failure", end)
	}
}

func TestATaskThatIgnoresItsSignalIsKilledWithItsGroup(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("server", map[string]string{"IGNORE": "SIGINT"})
	spec.Groups[0].Tasks[0].KillTimeout = 10 * time.Millisecond
	r.ensure(spec)
	r.scale(1)
	a := r.one("running", isRunning)
	pids := []int{getPID(t, a.Address, "/"), getPID(t, a.Address, "/child")}
	r.scale(0)
	o := r.until("gone", func(o jobs.Observation) bool { return o.Allocations[0].Terminal() })
	if got := o.Allocations[0].Client; got != jobs.ClientComplete {
		t.Errorf("client: got %s, want complete: it was asked to stop", got)
	}
	waitGone(t, pids...)
}

func TestATaskBehindAShellGetsItsKillSignalToo(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("server", nil)
	task := &spec.Groups[0].Tasks[0]
	task.Args = []string{"-c", `trap : INT; "$0" & wait; wait`, task.Command}
	task.Command = "sh"
	r.ensure(spec)
	r.scale(1)
	a := r.one("running", isRunning)
	get(t, a.Address, "/")
	r.scale(0)
	r.until("gone", func(o jobs.Observation) bool { return o.Allocations[0].Terminal() })
	if _, err := os.Stat(filepath.Join(r.allocsDir(), a.ID, "alloc", "SIGINT")); err != nil {
		t.Errorf("the task behind the shell was not asked to end: %v", err)
	}
}

func TestNothingThatATaskStartedOutlivesIt(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	r.scale(1)
	a := r.one("running", isRunning)
	sameGroup := getPID(t, a.Address, "/child")
	ownSession := getPID(t, a.Address, "/child?session=true")
	crash(t, a.Address, 1, "")
	r.until("failed", func(o jobs.Observation) bool { return o.Allocations[0].Client == jobs.ClientFailed })
	waitGone(t, sameGroup, ownSession)
}

func TestARestartInPlaceKeepsIDAndAddress(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("exit", map[string]string{"FAILURES": "2", "CODE": "7", "WORDS": "out of memory"})
	spec.Groups[0].Restart = jobs.Restart{Attempts: 2, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
	r.ensure(spec)
	r.scale(1)
	first := r.one("placed", func(jobs.Allocation) bool { return true })
	again := r.one("the third run", func(a jobs.Allocation) bool { return a.Restarts == 2 && isRunning(a) })
	if again.ID != first.ID || again.Address != first.Address || again.Address == "" {
		t.Errorf("got %s at %s after restarts, want %s at %s", again.ID, again.Address, first.ID, first.Address)
	}
	if !strings.Contains(again.Failure, "exit code 7") || !strings.Contains(again.Failure, "last words: out of memory") {
		t.Errorf("failure: got %q, want the last exit code and words", again.Failure)
	}
	get(t, again.Address, "/") // it serves where it was promised
}

func TestARestartOfATaskStopsWithItsAllocation(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("exit", nil)
	spec.Groups[0].Restart = jobs.Restart{Attempts: 1, Interval: time.Hour, Delay: time.Hour, Mode: "fail"}
	r.ensure(spec)
	r.scale(1)
	r.one("waiting for its restart", func(a jobs.Allocation) bool { return a.Restarts == 1 && a.Client == jobs.ClientPending })
	r.scale(0)
	r.until("gone", func(o jobs.Observation) bool { return o.Allocations[0].Client == jobs.ClientComplete })
}

func TestAFailedAllocationIsReplacedAtItsIndexUntilItsAttemptsAreUsedUp(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("exit", map[string]string{"CODE": "1"})
	spec.Groups[0].Reschedule = &jobs.Reschedule{Attempts: 2, Delay: time.Millisecond, DelayFunction: "constant"}
	r.ensure(spec)
	r.scale(1)
	o := r.until("three failures", func(o jobs.Observation) bool {
		return len(o.Allocations) == 3 && o.Allocations[2].Client == jobs.ClientFailed
	})
	ids := map[string]bool{}
	var desired []string
	for _, a := range o.Allocations {
		ids[a.ID] = true
		desired = append(desired, a.Desired)
		if a.Index != 0 || a.Client != jobs.ClientFailed {
			t.Errorf("got %+v, want it failed at index 0", a)
		}
	}
	if len(ids) != 3 {
		t.Errorf("got ids %v, want three different ones", ids)
	}
	if diff := cmp.Diff([]string{jobs.DesiredStop, jobs.DesiredStop, jobs.DesiredRun}, desired); diff != "" {
		t.Errorf("only the last one is still wanted (-want +got):\n%s", diff)
	}
}

func TestTheHighestIndexStopsAlthoughALowerOneIsBroken(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	r.scale(2)
	o := r.until("two", func(o jobs.Observation) bool {
		return len(o.Allocations) == 2 && isRunning(o.Allocations[0]) && isRunning(o.Allocations[1])
	})
	broken, healthy := o.Allocations[0], o.Allocations[1]
	crash(t, broken.Address, 1, "")
	r.until("a failure", func(o jobs.Observation) bool { return o.Allocations[0].Client == jobs.ClientFailed })
	r.scale(1)
	o = r.until("the other stopped", func(o jobs.Observation) bool { return o.Allocations[1].Terminal() })
	if a := o.Allocations[0]; a.ID != broken.ID || a.Desired != jobs.DesiredRun {
		t.Errorf("index 0: got %+v, want the broken %s still wanted", a, broken.ID)
	}
	if a := o.Allocations[1]; a.ID != healthy.ID || a.Desired != jobs.DesiredStop {
		t.Errorf("index 1: got %+v, want %s stopped", a, healthy.ID)
	}

	// Below its index and up again clears it, although it has an hour to wait.
	r.scale(0)
	r.scale(1)
	fresh := r.one("a new one", isRunning)
	if fresh.ID == broken.ID || fresh.Index != 0 {
		t.Errorf("got %+v, want a new allocation at index 0", fresh)
	}
}

func TestACommandThatDoesNotExistFailsItsAllocation(t *testing.T) {
	for command, want := range map[string]string{
		"no-such-engine":      `command "no-such-engine" not found in PATH`,
		"/opt/no/such/engine": `command "/opt/no/such/engine" not found`,
		"/":                   "cannot start",
	} {
		t.Run(command, func(t *testing.T) {
			r := startFleet(t, nil)
			spec := testSpec("server", nil)
			spec.Groups[0].Tasks[0].Command = command
			// Nomad does not restart what cannot be started either.
			spec.Groups[0].Restart = jobs.Restart{Attempts: 3, Interval: time.Hour, Delay: time.Hour, Mode: "fail"}
			r.ensure(spec)
			r.scale(1)
			o := r.until("failed", func(o jobs.Observation) bool {
				return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientFailed
			})
			if a := o.Allocations[0]; !strings.Contains(a.Failure, want) || !a.Started.IsZero() || a.Finished.IsZero() {
				t.Errorf("got %+v, want it finished, never started, with a failure that contains %q", a, want)
			}
		})
	}
}

func TestASideTaskThatFailsEndsItsAllocation(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("server", nil)
	side := testSpec("exit", map[string]string{"CODE": "4", "WORDS": "no route"}).Groups[0].Tasks[0]
	side.Name = "tunnel"
	spec.Groups[0].Tasks = append(spec.Groups[0].Tasks, side)
	r.ensure(spec)
	r.scale(1)
	o := r.until("failed", func(o jobs.Observation) bool {
		return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientFailed
	})
	if got := o.Allocations[0].Failure; !strings.HasPrefix(got, "task tunnel: exit code 4") || !strings.HasSuffix(got, "no route") {
		t.Errorf("failure: got %q, want the side task's", got)
	}
}

func TestASideTaskThatRestartsLeavesTheOthersAlone(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("server", nil)
	spec.Groups[0].Tasks = append(spec.Groups[0].Tasks, jobs.Task{
		Name: "tunnel", Driver: "raw_exec", Command: "sh", Args: []string{"-c", "echo run; exit 1"},
		Restart: &jobs.Restart{Attempts: 2, Interval: time.Hour, Delay: time.Millisecond, Mode: "delay"},
	})
	r.ensure(spec)
	r.scale(1)
	a := r.one("running", isRunning)
	eventually(t, "three runs of the side task", func() error {
		log, err := os.ReadFile(filepath.Join(r.allocsDir(), a.ID, "alloc", "logs", "tunnel.stdout"))
		if err == nil && string(log) != "run\nrun\nrun\n" {
			err = fmt.Errorf("log is %q", log)
		}
		return err
	})
	get(t, a.Address, "/")
	if now := r.observe().Allocations[0]; cmp.Diff(a, now) != "" {
		t.Errorf("the allocation is not as it was (-before +after):\n%s", cmp.Diff(a, now))
	}
}

func TestAPrestartTaskIsDoneBeforeTheMainTaskStarts(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("server", nil)
	before := testSpec("exit", nil).Groups[0].Tasks[0]
	before.Name, before.Lifecycle = "fetch", "prestart"
	before.Env["FAILURES"] = "" // no count: it exits at once
	spec.Groups[0].Tasks = append(spec.Groups[0].Tasks, before)
	r.ensure(spec)
	r.scale(1)
	a := r.one("running", isRunning)
	if a.Restarts != 0 || a.Failure != "" {
		t.Errorf("got %+v, want no failure", a)
	}
	log := filepath.Join(r.allocsDir(), a.ID, "alloc", "logs", "fetch.stdout")
	if _, err := os.Stat(log); err != nil {
		t.Errorf("the prestart task left no log: %v", err)
	}
}

func TestAJobThatTheLocalFleetCannotRunIsRefusedInWords(t *testing.T) {
	f, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*jobs.Task)
		want   string
	}{
		"driver": {func(t *jobs.Task) { t.Driver = "docker" },
			`ensure default/echo/server: the local fleet cannot run driver "docker" of task model; it runs raw_exec and exec`},
		"command":     {func(t *jobs.Task) { t.Command = "" }, "task model has no command"},
		"kill signal": {func(t *jobs.Task) { t.KillSignal = "SIGNAL" }, `kill_signal "SIGNAL" is not known`},
		"hook":        {func(t *jobs.Task) { t.Lifecycle = "poststop" }, "no main task"},
		"user":        {func(t *jobs.Task) { t.User = "somebody-else" }, "as user somebody-else"},
		"name":        {func(t *jobs.Task) { t.Name = "../model" }, "cannot name a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := testSpec("server", nil)
			c.change(&spec.Groups[0].Tasks[0])
			err := f.Ensure(t.Context(), spec, testRef, false)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one that contains %q", err, c.want)
			}
			if driver := new(DriverError); errors.As(err, &driver) != (name == "driver") {
				t.Errorf("got error %#v", err)
			}
		})
	}
	if err := f.Ensure(t.Context(), testSpec("server", nil), jobs.Ref{Namespace: "default", Job: "echo", Group: "none"}, false); err == nil {
		t.Error("a group that the spec does not have was ensured")
	}
}

func TestOnlyTheLastTerminalAllocationsAreRemembered(t *testing.T) {
	r := startFleet(t, nil)
	spec := testSpec("server", nil)
	spec.Groups[0].Tasks[0].Command = "sleep"
	spec.Groups[0].Tasks[0].Args = []string{"1000"}
	spec.Groups[0].Ports = nil
	r.ensure(spec)
	var last string
	for range pastAllocations + 3 {
		r.scale(1)
		last = r.one("running", isRunning).ID
		r.scale(0)
		r.until("gone", func(o jobs.Observation) bool {
			for _, a := range o.Allocations {
				if !a.Terminal() {
					return false
				}
			}
			return true
		})
	}
	o := r.observe()
	if n := len(o.Allocations); n != pastAllocations || o.Allocations[n-1].ID != last {
		t.Errorf("got %d remembered allocations, want the last %d", n, pastAllocations)
	}
	r.stop()
	dirs, err := os.ReadDir(r.allocsDir())
	if err != nil || len(dirs) != pastAllocations {
		t.Errorf("got %d directories (%v), want %d", len(dirs), err, pastAllocations)
	}
}

func TestTheEndOfRunStopsEveryTaskInOrder(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	r.scale(2)
	o := r.until("two", func(o jobs.Observation) bool {
		return len(o.Allocations) == 2 && isRunning(o.Allocations[0]) && isRunning(o.Allocations[1])
	})
	var pids []int
	for _, a := range o.Allocations {
		pids = append(pids, getPID(t, a.Address, "/"))
	}
	r.stop()
	for i, a := range r.observe().Allocations {
		if alive(pids[i]) || a.Client != jobs.ClientComplete {
			t.Errorf("after Run: process alive: %t, allocation %+v", alive(pids[i]), a)
		}
		if _, err := os.Stat(filepath.Join(r.allocsDir(), a.ID, "alloc", "SIGINT")); err != nil {
			t.Errorf("the task was not asked to end: %v", err)
		}
	}
	if err := r.Scale(t.Context(), testRef, 1, "test", nil); !errors.Is(err, ErrEnded) {
		t.Errorf("scale after Run: got error %v, want ErrEnded", err)
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("a second Run was let in")
	}
}
