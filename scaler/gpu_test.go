package scaler

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// busyAt is what a node says now of devices that are that busy.
func busyAt(percent float64) func(jobs.Allocation) jobs.GPU {
	return func(jobs.Allocation) jobs.GPU {
		return jobs.GPU{At: time.Now(), Utilization: &percent, MemoryUsed: new(60e9), MemoryTotal: new(80e9)}
	}
}

// byGPU is a policy that only GPU utilization scales, between 1 and 3.
func byGPU(change func(p *policies.Policy)) *policies.Policy {
	return policy(func(p *policies.Policy) {
		p.Replicas.Min = 1
		p.Sizing.Mode = "thresholds"
		p.ScaleUp.Window, p.ScaleUp.GPUUtilization, p.ScaleUp.MaxStep = 10*time.Second, new(85.0), 1
		p.ScaleDown.Window, p.ScaleDown.GPUUtilization, p.ScaleDown.MaxStep = 20*time.Second, new(40.0), 1
		if change != nil {
			change(p)
		}
	})
}

// reason that GPU utilization is unknown, "" if it is known.
func (h *house) gpuReason() string {
	h.t.Helper()
	st := h.status()
	if (st.GPU == nil) != (st.GPUWhy != nil) {
		h.t.Errorf("GPU %v %% with the reason %v", show(st.GPU), st.GPUWhy)
	}
	for _, r := range st.Replicas.List {
		if r.Phase == jobs.Ready && (r.GPUUtilizationPercent == nil) != (r.GPUUnknownReason != "") {
			h.t.Errorf("%s: GPU %v %% with the reason %q", r.ID, show(r.GPUUtilizationPercent), r.GPUUnknownReason)
		}
	}
	if st.GPUWhy == nil {
		return ""
	}
	return *st.GPUWhy
}

func (h *house) awaitReady(n int) {
	h.t.Helper()
	within(h.t, time.Minute, "ready", func() bool { return h.status().Replicas.Ready == n })
}

// restart replaces the scaler by one that reaches the world in another way.
func (h *house) restart(prometheus *url.URL, through answering) {
	h.t.Helper()
	h.stop()
	h.through, h.asks = through, prometheus
	h.start()
}

func TestGPUFiguresOfTheFleetAreReadOnceASampleAndShown(t *testing.T) {
	p := policy(func(p *policies.Policy) { p.Replicas.Min, p.Sizing.Sample = 2, 5*time.Second })
	play(t, p, func(t *testing.T, h *house) {
		percent := map[int]float64{0: 80, 1: 20}
		h.fleet.set(func() {
			h.fleet.gpus = func(a jobs.Allocation) jobs.GPU { return busyAt(percent[a.Index])(a) }
		})
		h.awaitReady(2)
		pass(6 * time.Second)
		before, asked := time.Now(), 0
		h.fleet.set(func() { asked = h.fleet.gpusAsked })
		pass(time.Minute)
		h.fleet.set(func() { asked = h.fleet.gpusAsked - asked })
		if want := int(time.Since(before) / p.Sizing.Sample); asked < want-1 || asked > want+1 {
			t.Errorf("asked %d times in %v for 2 replicas, want once each %v", asked, time.Since(before), p.Sizing.Sample)
		}
		st := h.status()
		if diff := cmp.Diff([]*float64{new(50.0), new(120e9)}, []*float64{st.GPU, st.GPUMem}); diff != "" {
			t.Error(diff)
		}
		for _, r := range st.Replicas.List {
			got := []*float64{r.GPUUtilizationPercent, r.GPUMemoryUsedBytes, r.GPUMemoryTotalBytes}
			if diff := cmp.Diff([]*float64{new(percent[r.Index]), new(60e9), new(80e9)}, got); diff != "" {
				t.Errorf("replica %d: %s", r.Index, diff)
			}
		}
		if why := h.gpuReason(); why != "" {
			t.Errorf("reason %q", why)
		}

		// One of two unknown: the mean is the other's, the memory of all is not known.
		h.fleet.set(func() {
			h.fleet.gpus = func(a jobs.Allocation) jobs.GPU {
				if a.Index == 1 {
					return jobs.GPU{Why: "a MIG instance gives no statistics"}
				}
				return busyAt(80)(a)
			}
		})
		pass(10 * time.Second)
		if st := h.status(); st.GPU == nil || *st.GPU != 80 || st.GPUMem != nil {
			t.Errorf("GPU %v %%, %v bytes; want 80 %% and unknown", show(st.GPU), show(st.GPUMem))
		} else if why := st.Replicas.List[1].GPUUnknownReason; why != "a MIG instance gives no statistics" {
			t.Errorf("reason %q of the replica", why)
		}
		h.gpuReason()
	})
}

func TestGPUFiguresThatAreNotAboutNowAreUnknown(t *testing.T) {
	busy := func(at time.Time) jobs.GPU { return jobs.GPU{At: at, Utilization: new(50.0)} }
	var began time.Time
	for name, c := range map[string]struct {
		say    func(f *fleet)
		within time.Duration
		want   string // the reason's beginning
	}{
		"a failure":   {func(f *fleet) { f.gpusFail = errors.New("node gpu-1: No path to node") }, 2 * time.Second, "node gpu-1: No path to node"},
		"no device":   {func(f *fleet) { f.gpus = nil }, 2 * time.Second, "the fleet knows of no GPU device"},
		"not at once": {func(f *fleet) { f.gpus = func(jobs.Allocation) jobs.GPU { return jobs.GPU{Why: "N/A"} } }, 2 * time.Second, "N/A"},
		"no reason":   {func(f *fleet) { f.gpus = func(jobs.Allocation) jobs.GPU { return jobs.GPU{} } }, 2 * time.Second, "its source gives no utilization"},
		"impossible":  {func(f *fleet) { f.gpus = func(jobs.Allocation) jobs.GPU { return jobs.GPU{Utilization: new(101.0)} } }, 2 * time.Second, "a utilization of 101 % is not one"},
		"a hang":      {func(f *fleet) { f.gpusHang = true }, 8 * time.Second, "no answer within 4s"},
		"deaf":        {func(f *fleet) { f.gpusDeaf = time.Minute }, 8 * time.Second, "no answer for "},
		"frozen":      {func(f *fleet) { f.gpus = func(jobs.Allocation) jobs.GPU { return busy(began) } }, 33 * time.Second, "the measurement has been the same one for 3"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, byGPU(nil), func(t *testing.T, h *house) {
				h.fleet.set(func() { h.fleet.gpus = busyAt(50) })
				h.awaitReady(1)
				pass(3 * time.Second)
				if why := h.gpuReason(); why != "" {
					t.Fatalf("unknown from the start: %s", why)
				}
				began = time.Now()
				h.fleet.set(func() { c.say(h.fleet) })
				within(t, c.within+2*time.Second, "unknown", func() bool { return strings.HasPrefix(h.gpuReason(), c.want) })
				if st := h.status(); st.GPU != nil || st.GPUMem != nil {
					t.Errorf("GPU %v %%, %v bytes, want unknown", show(st.GPU), show(st.GPUMem))
				}
				h.fleet.set(func() { h.fleet.gpus, h.fleet.gpusFail, h.fleet.gpusHang, h.fleet.gpusDeaf = busyAt(60), nil, false, 0 })
				within(t, 65*time.Second, "known again", func() bool { return h.gpuReason() == "" })
			})
		})
	}
}

func TestAFigureThatIsSlowToChangeIsStillAFigure(t *testing.T) {
	play(t, byGPU(nil), func(t *testing.T, h *house) {
		// A node that measures every 10 s, by a clock of its own.
		h.fleet.set(func() {
			h.fleet.gpus = func(jobs.Allocation) jobs.GPU {
				return jobs.GPU{At: time.Now().Truncate(10 * time.Second).Add(-time.Hour), Utilization: new(50.0)}
			}
		})
		h.awaitReady(1)
		pass(3 * time.Second)
		for range 60 {
			pass(time.Second)
			if why := h.gpuReason(); why != "" {
				t.Fatal(why)
			}
		}
	})
}

func TestAnUnknownGPUUtilizationHoldsTheCount(t *testing.T) {
	play(t, byGPU(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.gpus = busyAt(95) })
		h.awaitReady(2)
		h.fleet.set(func() { h.fleet.gpus = busyAt(60) })
		pass(time.Minute)
		if n := h.fleet.wants(); n != 2 {
			t.Fatalf("%d replicas at 60 %%, want 2", n)
		}

		// Were unknown zero, this would be below 40 %; were it the last figure, too.
		h.fleet.set(func() { h.fleet.gpus = busyAt(10) })
		pass(5 * time.Second)
		h.fleet.set(func() { h.fleet.gpusFail = errors.New("no path to node") })
		for range 10 {
			pass(time.Minute)
			if n := h.fleet.wants(); n != 2 {
				t.Fatalf("%d replicas while GPU utilization is unknown, want 2 held", n)
			}
		}
		if why := h.status().Reason; !strings.Contains(why, "gpu_utilization unknown") {
			t.Errorf("the decision says %q", why)
		}

		// Known again: down only after a whole window of it.
		h.fleet.set(func() { h.fleet.gpusFail = nil })
		pass(15 * time.Second)
		if n := h.fleet.wants(); n != 2 {
			t.Errorf("%d replicas 15 s after it is known again, want 2: the window is 20 s", n)
		}
		pass(15 * time.Second)
		if n := h.fleet.wants(); n != 1 {
			t.Errorf("%d replicas after a window at 10 %%, want 1", n)
		}
	})
}

func TestOneReplicaWithoutAFigureHoldsTheCountToo(t *testing.T) {
	play(t, byGPU(nil), func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.gpus = busyAt(95) })
		h.awaitReady(2)
		h.fleet.set(func() {
			h.fleet.gpus = func(a jobs.Allocation) jobs.GPU {
				if a.Index == 1 {
					return jobs.GPU{Why: "N/A"}
				}
				return busyAt(5)(a)
			}
		})
		pass(10 * time.Minute)
		if n := h.fleet.wants(); n != 2 {
			t.Errorf("%d replicas while one says 5 %% and one nothing, want 2 held", n)
		}
	})
}

func TestAFleetThatHangsOverGPUsDelaysNoLaunch(t *testing.T) {
	p := policy(func(p *policies.Policy) { p.Replicas.Min = 1 })
	play(t, p, func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.gpusHang = true })
		h.awaitReady(1)
		pass(700 * time.Millisecond)
		began := time.Now()
		h.operate(jobs.Command{Verb: jobs.VerbPin, Replicas: 3})
		within(t, 100*time.Millisecond, "scaled up", func() bool { return h.fleet.wants() == 3 })
		t.Logf("scaled up after %v", time.Since(began))
	})
}

func TestAReplicaThatIsReadyAgainIsNotJudgedByItsFormerProcess(t *testing.T) {
	p := byGPU(func(p *policies.Policy) { p.Sizing.Sample = 5 * time.Second })
	play(t, p, func(t *testing.T, h *house) {
		h.fleet.set(func() { h.fleet.gpus = busyAt(70) })
		h.awaitReady(1)
		pass(2 * time.Second)
		id := h.status().Replicas.List[0].ID
		h.fleet.set(func() { h.fleet.dead[id] = true })
		within(t, 10*time.Second, "not ready", func() bool { return h.status().Replicas.Ready == 0 })
		if r := h.status().Replicas.List[0]; r.GPUUtilizationPercent != nil || r.GPUUnknownReason != "" {
			t.Errorf("GPU %v %% because %q of a replica that is not ready, want nothing", show(r.GPUUtilizationPercent), r.GPUUnknownReason)
		}
		h.fleet.set(func() { h.fleet.dead[id], h.fleet.gpusHang = false, true })
		h.awaitReady(1)
		if why := h.gpuReason(); why != "not measured yet" {
			t.Errorf("the reason is %q before the first measurement of the new process", why)
		}
	})
}

func TestAnExporterOnTheReplicasNodeIsAsked(t *testing.T) {
	p := byGPU(func(p *policies.Policy) { p.GPU = policies.GPU{Source: "metrics", Port: 9400} })
	play(t, p, func(t *testing.T, h *house) {
		h.restart(nil, func(r *http.Request) (*http.Response, error) {
			if r.URL.Port() != "9400" {
				return h.fleet.RoundTrip(r)
			}
			return reply(200, "DCGM_FI_DEV_GPU_UTIL{UUID=\"GPU-a\"} 33\n"), nil
		})
		h.awaitReady(1)
		within(t, 5*time.Second, "known", func() bool { st := h.status(); return st.GPU != nil && *st.GPU == 33 })
	})
}

func TestWithoutAPrometheusItsUtilizationIsUnknownAndTheFlagIsNamed(t *testing.T) {
	p := byGPU(func(p *policies.Policy) { p.GPU = policies.GPU{Source: "prometheus", Query: "avg(x)"} })
	play(t, p, func(t *testing.T, h *house) {
		h.awaitReady(1)
		pass(2 * time.Second)
		if why := h.gpuReason(); !strings.Contains(why, "--prometheus") {
			t.Errorf("the reason is %q", why)
		}
	})
}

func TestWhatPrometheusSaysIsOfEveryReadyReplica(t *testing.T) {
	p := byGPU(func(p *policies.Policy) {
		p.GPU = policies.GPU{Source: "prometheus", Query: "hot"}
		p.Replicas.Max = 2
	})
	play(t, p, func(t *testing.T, h *house) {
		var down atomic.Bool
		h.restart(&url.URL{Scheme: "http", Host: "10.9.9.9:9090"}, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "10.9.9.9:9090" {
				return h.fleet.RoundTrip(r)
			}
			form, err := io.ReadAll(r.Body)
			switch {
			case err != nil || down.Load():
				return nil, errors.New("connection refused")
			case string(form) == "query=hot":
				return reply(200, vector(time.Now(), "90")), nil
			}
			return reply(200, vector(time.Now(), "10")), nil
		})
		h.awaitReady(2)
		pass(3 * time.Second)
		st := h.status()
		for _, r := range st.Replicas.List {
			if r.GPUUtilizationPercent == nil || *r.GPUUtilizationPercent != 90 || r.GPUMemoryUsedBytes != nil {
				t.Errorf("%s: %v %%, %v bytes; want 90 %% and unknown", r.ID, show(r.GPUUtilizationPercent), show(r.GPUMemoryUsedBytes))
			}
		}

		// Gone: unknown, and held, although the last figure was of another query.
		down.Store(true)
		cold := *p
		cold.GPU.Query = "cold"
		h.policies.put(&cold)
		pass(3 * time.Minute)
		if why := h.gpuReason(); why != "Prometheus: connection refused" {
			t.Errorf("the reason is %q", why)
		}
		if n := h.fleet.wants(); n != 2 {
			t.Errorf("%d replicas while Prometheus is away, want 2 held", n)
		}
		down.Store(false)
		within(t, time.Minute, "scaled down", func() bool { return h.fleet.wants() == 1 })
	})
}

func TestTheAnswerToAFormerQueryIsNotTaken(t *testing.T) {
	p := byGPU(func(p *policies.Policy) {
		p.GPU = policies.GPU{Source: "prometheus", Query: "hot"}
		p.Replicas.Max = 1
	})
	play(t, p, func(t *testing.T, h *house) {
		h.restart(&url.URL{Scheme: "http", Host: "10.9.9.9:9090"}, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "10.9.9.9:9090" {
				return h.fleet.RoundTrip(r)
			}
			time.Sleep(1500 * time.Millisecond)
			if form, err := io.ReadAll(r.Body); err == nil && string(form) == "query=hot" {
				return reply(200, vector(time.Now(), "90")), nil
			}
			return reply(200, vector(time.Now(), "10")), nil
		})
		within(t, 10*time.Second, "known", func() bool { st := h.status(); return st.GPU != nil && *st.GPU == 90 })
		cold := *p
		cold.GPU.Query = "cold"
		h.policies.put(&cold)
		within(t, 10*time.Second, "known again", func() bool {
			st := h.status()
			if st.PolicyVersion == 2 && st.GPU != nil && *st.GPU == 90 {
				t.Error("the figure of the former query is shown under the new one")
				return true
			}
			return st.PolicyVersion == 2 && st.GPU != nil && *st.GPU == 10
		})
	})
}

func TestUnknownGPUFiguresAreAbsentFromTheMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	gauges := func() map[string]float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "pilotlight_gpu_") && len(f.GetMetric()) > 0 {
				got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return got
	}
	known := map[string]float64{"pilotlight_gpu_utilization_ratio": 0, "pilotlight_gpu_memory_used_bytes": 5e9}
	for _, step := range []struct {
		st   jobs.Status
		want map[string]float64
	}{
		{jobs.Status{Name: "a"}, map[string]float64{}},
		{jobs.Status{Name: "a", GPU: new(0.0), GPUMem: new(5e9)}, known},
		{jobs.Status{Name: "a"}, map[string]float64{}},
	} {
		m.published(step.st, "")
		if diff := cmp.Diff(step.want, gauges()); diff != "" {
			t.Error(diff)
		}
	}
}
