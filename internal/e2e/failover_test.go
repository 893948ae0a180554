package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// rivals are two scalers over one Nomad; the first leads.
type rivals struct {
	*cluster
	id            string // of the job
	client        *house // activator and web
	first, second *house
	log           string // executions
}

func startRivals(t *testing.T, stubArgs ...string) *rivals {
	t.Helper()
	r := &rivals{cluster: startCluster(t, nomaddouble.Config{}), log: filepath.Join(t.TempDir(), "executions")}
	server := startRedis(t)
	var job string
	r.id, job = r.task(t, "translate", append(stubArgs, "--log-file", r.log)...)
	args := append(pairs{
		"translate": {runs(r.id, policyOf("translate", replicas(0, 2, 2), toZero("10m"))), job},
	}.arguments(t), "--redis", server.URL(), "--nomad", r.address)
	r.client = startServe(t, "activator,web", args...)
	r.first = startServe(t, "scaler", args...)
	leads(t, r.first)
	r.second = startServe(t, "scaler", args...)
	t.Cleanup(func() { r.first.signal(syscall.SIGCONT) }) // or it could not be stopped in order
	return r
}

// holdCall keeps the next scale call from being obeyed until release: sent by one
// who was stopped then, it arrives late.
func (r *rivals) holdCall() (release func()) { return r.double.Hang(1, "PUT", "/scale") }

// awaitCalls waits until that many scale calls were sent.
func (r *rivals) awaitCalls(t *testing.T, counts ...int) {
	t.Helper()
	await(t, fmt.Sprintf("scale calls to %v", counts), func() error {
		if got := r.counts(t); !slices.Equal(got, counts) {
			return fmt.Errorf("they are to %v", got)
		}
		return nil
	})
}

// counts of the scale calls that were sent, oldest first.
func (r *rivals) counts(t *testing.T) (list []int) {
	t.Helper()
	for _, c := range r.scaleCalls(t, r.id) {
		list = append(list, *c.Count)
	}
	return list
}

// stopFirst stops the first as it is, and waits until the second leads.
func (r *rivals) stopFirst(t *testing.T) {
	t.Helper()
	r.first.signal(syscall.SIGSTOP)
	stopped := time.Now()
	leads(t, r.second)
	took := time.Since(stopped)
	t.Logf("the second leads after %v", took)
	if took > 3*time.Second+machineSlack {
		t.Errorf("took over after %v, want less than 3s", took)
	}
}

// resumeFirst lets the first run on, and waits until it knows that it leads no
// more.
func (r *rivals) resumeFirst(t *testing.T) {
	t.Helper()
	r.first.signal(syscall.SIGCONT)
	await(t, "the first to stand by", func() error {
		if got := r.first.metric(t, "pilotlight_leader")[`role="scaler"`]; got != "0" {
			return fmt.Errorf("its pilotlight_leader is %q", got)
		}
		return nil
	})
	leads(t, r.second)
}

func TestALaunchByAScalerThatWasStoppedInItsCallIsMadeOnce(t *testing.T) {
	t.Parallel()
	r := startRivals(t, "--load", "500ms")
	release := r.holdCall()
	held := inBackground(func() answer { return r.client.translate(t.Context(), "/translate", "held") })
	r.awaitCalls(t, 1)
	r.stopFirst(t)
	if err := held.get(t).check("held"); err != nil {
		t.Fatal(err)
	}
	release() // now the late one comes
	r.resumeFirst(t)
	if err := r.client.translate(t.Context(), "/translate", "warm").check("warm"); err != nil {
		t.Error(err)
	}
	r.launchedOnce(t, r.id, 1)
	r.awaitCalls(t, 1, 1)
	if v := r.job(t, r.id).Version; v != 1 {
		t.Errorf("version %d of the job, want 1: one of the two calls was refused", v)
	}
}

func TestAScaleDownByAScalerThatWasStoppedInItsCallStopsNobodyWhoServes(t *testing.T) {
	t.Parallel()
	r := startRivals(t, "--latency", "4s")
	if err := r.client.translate(t.Context(), "/translate", "first").check("first"); err != nil {
		t.Fatal(err)
	}
	release := r.holdCall()
	r.client.operate(t, "translate", jobs.VerbSleep, 0)
	r.awaitCalls(t, 1, 0)
	r.first.signal(syscall.SIGSTOP)
	wanted := inBackground(func() answer { return r.client.translate(t.Context(), "/translate", "wanted again") })
	r.stopFirst(t)
	await(t, "the request to be in flight", func() error {
		if n := count(executions(t, r.log), stub.EventStarted, ""); n != 2 {
			return fmt.Errorf("%d executions", n)
		}
		return nil
	})
	release()
	r.resumeFirst(t)
	if err := wanted.get(t).check("wanted again"); err != nil {
		t.Errorf("the request that was in flight when the late call came: %v", err)
	}
	r.launchedOnce(t, r.id, 1)
	r.awaitCalls(t, 1, 0, 1) // the last one changes nothing but the index
	if list := r.client.decisions(t, "translate"); !slices.ContainsFunc(list, ruled("reversed")) {
		t.Errorf("no decision tells of it: %+v", list)
	}
	if n := count(executions(t, r.log), stub.EventStarted, ""); n != 2 {
		t.Errorf("%d executions for 2 requests", n)
	}
}

func TestADrainByAScalerThatWasStoppedGoesOnUnderTheNext(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "killed"}[killed], func(t *testing.T) {
			t.Parallel()
			r := startRivals(t, "--latency", "8s")
			flight := inBackground(func() answer { return r.client.translate(t.Context(), "/translate", "in flight") })
			r.client.awaitService(t, "translate", "ready", ready(1))
			await(t, "the request to be in flight", func() error {
				if n := count(executions(t, r.log), stub.EventStarted, ""); n != 1 {
					return fmt.Errorf("%d executions", n)
				}
				return nil
			})
			r.client.operate(t, "translate", jobs.VerbSleep, 0)
			r.client.awaitService(t, "translate", "draining", func(st jobs.Status) bool { return st.Replicas.Draining == 1 })
			if killed {
				r.first.kill()
				leads(t, r.second)
			} else {
				r.stopFirst(t)
				r.resumeFirst(t)
			}
			if err := flight.get(t).check("in flight"); err != nil {
				t.Errorf("the request that the drain waits for: %v", err)
			}
			r.client.awaitService(t, "translate", "at zero", atZero)
			noProcess(t, r.id)
			r.launchedOnce(t, r.id, 1)
			r.awaitCalls(t, 1, 0)
		})
	}
}

func TestAScalerKilledInTheMiddleOfAColdStartLeavesItToTheNext(t *testing.T) {
	t.Parallel()
	r := startRivals(t, "--load", "5s")
	held := inBackground(func() answer { return r.client.translate(t.Context(), "/translate", "held") })
	r.client.awaitService(t, "translate", "starting", func(st jobs.Status) bool { return st.Replicas.Starting == 1 })
	r.first.kill()
	leads(t, r.second)
	a := held.get(t)
	if err := a.check("held"); err != nil {
		t.Fatal(err)
	}
	t.Logf("answered after %v, of which 5s are the load", a.took)
	r.launchedOnce(t, r.id, 1)
	r.awaitCalls(t, 1)
	await(t, "its cold start", func() error {
		list := r.client.coldStarts(t, "translate")
		if len(list) != 1 || list[0].Outcome != jobs.OutcomeAnswered || list[0].RequestsWaiting != 1 {
			return fmt.Errorf("they are %+v", list)
		}
		return nil
	})
}

func TestAnOwnerOfChildProcessesThatIsStoppedIsReplacedByTheNextScaler(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, pairs{
		"translate": {policyOf("translate", replicas(0, 1, 2), toZero("10m")), stubJob("translate")},
	})
	second := startServeIn(t, s.scaler.home, "scaler", s.args...)
	second.shared, s.scaler.shared = true, true
	t.Cleanup(func() { s.scaler.signal(syscall.SIGCONT) })
	client := s.activators[0]
	before := client.translate(t.Context(), "/translate", "before")
	if err := before.check("before"); err != nil {
		t.Fatal(err)
	}
	old := before.header.Get("Pilotlight-Replica")

	s.scaler.signal(syscall.SIGSTOP)
	leads(t, second)
	// Until then the activator may use the slot that it has at the old replica.
	await(t, "the stopped owner's replica to be ended", func() error {
		if left := processesOf(t, old); len(left) > 0 {
			return fmt.Errorf("its processes are %v", left)
		}
		return nil
	})
	after := client.translate(t.Context(), "/translate", "after")
	if err := after.check("after"); err != nil {
		t.Fatal(err)
	}
	s.scaler.signal(syscall.SIGCONT)
	await(t, "the stopped one to stand by", func() error {
		if got := s.scaler.metric(t, "pilotlight_leader")[`role="scaler"`]; got != "0" {
			return fmt.Errorf("its pilotlight_leader is %q", got)
		}
		return nil
	})
	pause(t, 2*time.Second) // in which it could start something
	replica := client.translate(t.Context(), "/translate", "still").header.Get("Pilotlight-Replica")
	if fresh := after.header.Get("Pilotlight-Replica"); replica != fresh {
		t.Errorf("answered by replica %s, want still %s", replica, fresh)
	}
	stubs := processesWhere(t, func(dir string) bool {
		return startedWith(dir, "HOME="+s.scaler.home) && startedWith(dir, "NOMAD_JOB_ID=translate")
	})
	if len(stubs) != 1 {
		t.Errorf("%d processes of replicas, want one: %v", len(stubs), stubs)
	}
	if at := epochOf(t, s.server); at < 2 {
		t.Errorf("epoch %d after a takeover", at)
	}
}

// epochOf is how many terms there have been.
func epochOf(t *testing.T, server *redisServer) int {
	t.Helper()
	text, err := server.Client.Get(t.Context(), "pl:{lease:scaler}:epoch").Result()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ruled(rule string) func(decide.Decision) bool {
	return func(d decide.Decision) bool { return d.Rule == rule }
}
