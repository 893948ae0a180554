package localfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/fleettest"
	"github.com/pilotlight/pilotlight/jobs"
)

// patience bounds every wait for an event; a passing test never uses it up.
const patience = 20 * time.Second

var testRef = jobs.Ref{Namespace: "default", Job: "echo", Group: "server"}

// raceEnvironment keeps the race detector from holding every process that exits
// for a second.
const raceEnvironment = "atexit_sleep_ms=0"

// testSpec is a job whose task is this test binary, acting as said.
func testSpec(act string, env map[string]string) *jobs.Spec {
	bin, err := os.Executable()
	if err != nil {
		panic(err)
	}
	all := map[string]string{actAs: act, "GORACE": raceEnvironment}
	for name, value := range env {
		all[name] = value
	}
	return &jobs.Spec{
		ID: testRef.Job, Namespace: testRef.Namespace, Type: "service",
		Groups: []jobs.Group{{
			Name:       testRef.Group,
			Ports:      []jobs.Port{{Label: "http"}},
			Restart:    jobs.Restart{Mode: "fail"},
			Reschedule: &jobs.Reschedule{Unlimited: true, Delay: time.Hour, DelayFunction: "constant"},
			Tasks: []jobs.Task{{
				Name: "model", Driver: "raw_exec", Command: bin, Env: all, KillTimeout: patience,
			}},
		}},
	}
}

// running is a fleet that runs, and its changes.
type running struct {
	*Fleet
	t       *testing.T
	changes chan struct{}
	stop    func() // ends Run and waits for it; done by Cleanup if not before
}

func startFleet(t *testing.T, change func(*Config)) *running {
	t.Helper()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "fleet"), Logger: testLogger(t)}
	if change != nil {
		change(&cfg)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran, watched := make(chan error, 1), make(chan error, 1)
	r := &running{Fleet: f, t: t, changes: make(chan struct{}, 1)}
	go func() { ran <- f.Run(ctx) }()
	go func() {
		watched <- f.Watch(ctx, func(jobs.Ref) {
			select {
			case r.changes <- struct{}{}:
			default:
			}
		})
	}()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := await(t, "the end of Run", ran); err != nil {
			t.Errorf("run: %v", err)
		}
		if err := await(t, "the end of Watch", watched); err != nil {
			t.Errorf("watch: %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

// testLogger writes to t what the fleet logs; tests that fail then show it.
func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("%s: not within %v", what, patience)
		panic("unreachable")
	}
}

func (r *running) ensure(spec *jobs.Spec) {
	r.t.Helper()
	if err := r.Ensure(r.t.Context(), spec, testRef, false); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) scale(count int) {
	r.t.Helper()
	if err := r.Scale(r.t.Context(), testRef, count, "test", nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) observe() jobs.Observation {
	r.t.Helper()
	o, err := r.Observe(r.t.Context(), testRef)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// until waits, from one reported change to the next, for the picture wanted.
func (r *running) until(what string, wanted func(jobs.Observation) bool) jobs.Observation {
	r.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		o := r.observe()
		if wanted(o) {
			return o
		}
		select {
		case <-r.changes:
		case <-timer.C:
			r.t.Fatalf("%s: not within %v; last %+v", what, patience, o)
		}
	}
}

// one waits until the only allocation that is not terminal is as wanted.
func (r *running) one(what string, wanted func(jobs.Allocation) bool) jobs.Allocation {
	r.t.Helper()
	var found jobs.Allocation
	r.until(what, func(o jobs.Observation) bool {
		var live []jobs.Allocation
		for _, a := range o.Allocations {
			if !a.Terminal() {
				live = append(live, a)
			}
		}
		if len(live) != 1 || !wanted(live[0]) {
			return false
		}
		found = live[0]
		return true
	})
	return found
}

func isRunning(a jobs.Allocation) bool { return a.Client == jobs.ClientRunning }

// get asks the task at address, as soon as it listens.
func get(t *testing.T, address, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	var body string
	eventually(t, "an answer from "+address+path, func() error {
		res, err := client.Get("http://" + address + path)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		body = string(b)
		if err == nil && res.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d: %s", res.StatusCode, body)
		}
		return err
	})
	return body
}

// crash makes the serving task exit with that code and those last words.
func crash(t *testing.T, address string, code int, words string) {
	t.Helper()
	get(t, address, "/")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	query := url.Values{"code": {fmt.Sprint(code)}, "words": {words}}
	if res, err := client.Get("http://" + address + "/crash?" + query.Encode()); err == nil {
		res.Body.Close()
		t.Fatalf("the task answered %s instead of crashing", res.Status)
	}
}

// eventually is for what no event tells of: other processes.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	every, limit := time.NewTicker(2*time.Millisecond), time.NewTimer(patience)
	defer every.Stop()
	defer limit.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-every.C:
		case <-limit.C:
			t.Fatalf("%s: %v after %v", what, err, patience)
		}
	}
}

func TestTheLocalFleetKeepsTheFleetContract(t *testing.T) {
	fleettest.Run(t, func(t *testing.T) fleettest.Harness {
		// Two other places are taken when the fleet is blocked.
		r := startFleet(t, func(c *Config) { c.MaxAllocations = 3 })
		return fleettest.Harness{
			Fleet:   r.Fleet,
			Spec:    testSpec("server", nil),
			Ref:     testRef,
			Unknown: func(err error) bool { return errors.Is(err, jobs.ErrUnknownJob) },
			Serves:  true,
			Crash: func(t *testing.T, a jobs.Allocation) string {
				crash(t, a.Address, 3, "no such model: gemma")
				return "no such model: gemma"
			},
			Block: func(t *testing.T) (release func()) {
				other := jobs.Ref{Namespace: "default", Job: "other", Group: "server"}
				spec := testSpec("sleeper", nil)
				spec.ID = other.Job
				if err := r.Ensure(t.Context(), spec, other, false); err != nil {
					t.Fatal(err)
				}
				scale := func(count int) {
					if err := r.Scale(t.Context(), other, count, "take all room", nil); err != nil {
						t.Fatal(err)
					}
				}
				scale(3)
				waitPlaced(t, r.Fleet, other, 3)
				return func() { scale(2) }
			},
		}
	})
}

// waitPlaced waits until count allocations of another group have been placed.
func waitPlaced(t *testing.T, f *Fleet, ref jobs.Ref, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	placed := false
	err := f.Watch(ctx, func(jobs.Ref) {
		if o, err := f.Observe(ctx, ref); err == nil && len(o.Allocations) == count {
			placed = true
			cancel()
		}
	})
	if err != nil || !placed {
		t.Fatalf("%s not placed %d times: %v", ref, count, err)
	}
}
