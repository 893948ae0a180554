package nomad

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// recordedStats is the recorded answer of a node with two GPUs, at 50 % and
// 60213 of 81559 MiB each, as if it came now; change edits it.
func recordedStats(t *testing.T, change func(answer *statsAnswer)) []byte {
	t.Helper()
	a := recorded[statsAnswer](t, "client-stats-devices.json")
	a.Timestamp = time.Now().UnixNano()
	for _, g := range a.DeviceStats {
		for _, d := range g.InstanceStats {
			d.Timestamp = time.Now().Add(-200 * time.Millisecond)
		}
	}
	if change != nil {
		change(&a)
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type statsAnswer struct {
	Timestamp   int64
	DeviceStats []*api.DeviceGroupStats
}

// each lets change edit every device.
func (a *statsAnswer) each(change func(d *api.DeviceStats)) {
	for _, g := range a.DeviceStats {
		for _, d := range g.InstanceStats {
			change(d)
		}
	}
}

// nodeStatsVia answers the question for a node's statistics by answer.
func nodeStatsVia(answer func(w http.ResponseWriter, r *http.Request, node string)) func(http.Handler) http.Handler {
	return func(double http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/client/stats" {
				double.ServeHTTP(w, r)
				return
			}
			w.Header().Set("X-Nomad-Index", "0")
			w.Header().Set("X-Nomad-LastContact", "0")
			answer(w, r, r.URL.Query().Get("node_id"))
		})
	}
}

// launched scales the job to n and waits until all run.
func (b *bubble) launched(n int) []jobs.Allocation {
	b.t.Helper()
	b.watch()
	b.ensure(parse(b.t, translate), translateRef)
	b.scale(translateRef, n)
	return b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == n }).Allocations
}

func (b *bubble) gpus(ref jobs.Ref) map[string]jobs.GPU {
	b.t.Helper()
	got, err := b.GPUs(b.t.Context(), ref)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func TestDevicesAreMatchedToTheAllocationsThatHoldThem(t *testing.T) {
	via := nodeStatsVia(func(w http.ResponseWriter, _ *http.Request, _ string) {
		_, _ = w.Write(recordedStats(t, func(a *statsAnswer) {
			busy := int64(90)
			a.DeviceStats[0].InstanceStats["GPU-00000001-1111-2222-3333-444444444444"].Stats.Attributes[statUtilization].IntNumeratorVal = &busy
		}))
	})
	inBubbleVia(t, gpus(2), via, func(t *testing.T, b *bubble) {
		for _, a := range b.launched(2) {
			gpu := b.gpus(translateRef)[a.ID]
			want := map[string]float64{"GPU-00000000-1111-2222-3333-444444444444": 50, "GPU-00000001-1111-2222-3333-444444444444": 90}[a.Devices[0]]
			if gpu.Why != "" || gpu.Utilization == nil || *gpu.Utilization != want {
				t.Errorf("%v: got %+v, want %v %%", a.Devices, gpu, want)
			}
			if gpu.MemoryUsed == nil || *gpu.MemoryUsed != 60213<<20 || *gpu.MemoryTotal != 81559<<20 || gpu.At.IsZero() {
				t.Errorf("got %+v, want 60213 of 81559 MiB in bytes, and when", gpu)
			}
		}
	})
}

func TestAnAllocationWithTwoDevicesIsTheirMeanAndTheirSum(t *testing.T) {
	var n nodeStats
	n.devices = map[string]deviceStats{
		"a": {utilization: new(20.0), used: new(1.0), size: new(4.0), at: time.Unix(9, 0)},
		"b": {utilization: new(60.0), used: new(2.0), size: new(4.0), at: time.Unix(8, 0)},
		"c": {used: new(2.0), size: new(4.0), at: time.Unix(8, 0), why: `gives GPU utilization as "N/A"`},
	}
	gpu := n.of([]string{"a", "b"})
	if *gpu.Utilization != 40 || *gpu.MemoryUsed != 3 || *gpu.MemoryTotal != 8 || gpu.At != time.Unix(8, 0) || gpu.Why != "" {
		t.Errorf("got %+v", gpu)
	}
	gpu = n.of([]string{"a", "c"})
	if gpu.Utilization != nil || *gpu.MemoryUsed != 3 || gpu.Why != `c gives GPU utilization as "N/A"` {
		t.Errorf("one unknown: got %+v, want no mean of what is left", gpu)
	}
}

func TestWhatIsNotMeasuredIsUnknownAndSaysWhy(t *testing.T) {
	write := func(change func(*statsAnswer)) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = w.Write(recordedStats(t, change)) }
	}
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		why    string // contained
	}{
		{"empty 200", func(w http.ResponseWriter) { _, _ = w.Write([]byte("{}")) }, "has not collected statistics yet"},
		{"timestamp 0", write(func(a *statsAnswer) { a.Timestamp = 0 }), "has not collected statistics yet"},
		{"no devices", write(func(a *statsAnswer) { a.DeviceStats = nil }), "its device plugin gives none"},
		{"N/A", write(func(a *statsAnswer) {
			a.each(func(d *api.DeviceStats) {
				d.Stats.Attributes[statUtilization] = &api.StatValue{StringVal: new("N/A"), Unit: "%"}
				d.Stats.Attributes[statMemory] = &api.StatValue{StringVal: new("N/A"), Unit: "MiB"}
			})
		}), `gives GPU utilization as "N/A" and gives Memory state as "N/A"`},
		{"a device that is not there", write(func(a *statsAnswer) {
			a.DeviceStats[0].InstanceStats = map[string]*api.DeviceStats{}
		}), "is not among the devices that its node measures"},
		{"measured long ago", write(func(a *statsAnswer) {
			a.each(func(d *api.DeviceStats) { d.Timestamp = d.Timestamp.Add(-45 * time.Second) })
		}), "was last measured 45s ago"},
		{"never measured", write(func(a *statsAnswer) {
			a.each(func(d *api.DeviceStats) { d.Timestamp = time.Time{} })
		}), "was never measured"},
		{"a slow clock, or an old collection", write(func(a *statsAnswer) {
			a.Timestamp -= int64(2 * time.Minute)
		}), "2m0s ago, or its clock is slow by that"},
		{"a fast clock", write(func(a *statsAnswer) {
			a.Timestamp += int64(2 * time.Minute)
		}), "is fast by 2m0s"},
		{"no path to the node", func(w http.ResponseWriter) { http.Error(w, "No path to node", 404) }, "cannot be asked: No path to node"},
		{"no right", func(w http.ResponseWriter) { http.Error(w, "Permission denied", 403) }, `node { policy = "read" }`},
		{"an error", func(w http.ResponseWriter) { http.Error(w, "rpc error", 500) }, "rpc error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			via := nodeStatsVia(func(w http.ResponseWriter, _ *http.Request, _ string) { c.answer(w) })
			inBubbleVia(t, gpus(1), via, func(t *testing.T, b *bubble) {
				a := b.launched(1)[0]
				gpu, ok := b.gpus(translateRef)[a.ID]
				if !ok || gpu.Utilization != nil || gpu.MemoryUsed != nil || gpu.MemoryTotal != nil || !strings.Contains(gpu.Why, c.why) {
					t.Errorf("got %+v, want nothing known, because %q", gpu, c.why)
				}
			})
		})
	}
}

func TestMIGInstancesAreUnknownBecauseNomadMeasuresNone(t *testing.T) {
	gpu := nodeStats{devices: map[string]deviceStats{}}.of([]string{"MIG-6c2d"})
	if gpu.Utilization != nil || !strings.Contains(gpu.Why, "MIG-6c2d is a MIG instance") {
		t.Errorf("got %+v", gpu)
	}
}

func TestANodeIsAskedOnceASecondHoweverManyAsk(t *testing.T) {
	var calls, inside atomic.Int32
	via := nodeStatsVia(func(w http.ResponseWriter, _ *http.Request, _ string) {
		calls.Add(1)
		if inside.Add(1) != 1 {
			t.Error("a node was asked while it was being asked")
		}
		time.Sleep(50 * time.Millisecond)
		inside.Add(-1)
		_, _ = w.Write(recordedStats(t, nil))
	})
	inBubbleVia(t, gpus(4), via, func(t *testing.T, b *bubble) {
		b.launched(2)
		calls.Store(0)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 50 { // for ten seconds
					for _, gpu := range b.gpus(translateRef) {
						if gpu.Utilization == nil {
							t.Errorf("got %+v", gpu)
						}
					}
					time.Sleep(200 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if n := calls.Load(); n < 8 || n > 12 {
			t.Errorf("%d calls in ten seconds, want about one a second", n)
		}
	})
}

func TestAFrozenNodeHoldsUpNoOther(t *testing.T) {
	var frozen sync.Map
	var asked atomic.Int32
	via := nodeStatsVia(func(w http.ResponseWriter, r *http.Request, node string) {
		if _, is := frozen.Load(node); is {
			asked.Add(1)
			<-r.Context().Done() // never
			return
		}
		_, _ = w.Write(recordedStats(t, nil))
	})
	inBubbleVia(t, gpus(1, 1), via, func(t *testing.T, b *bubble) {
		allocs := b.launched(2)
		frozen.Store(allocs[0].NodeID, true)
		began := time.Now()
		got := b.gpus(translateRef)
		if took := time.Since(began); took > gpuTimeout {
			t.Errorf("took %v, want at most %v", took, gpuTimeout)
		}
		if gpu := got[allocs[0].ID]; gpu.Utilization != nil || gpu.Why != fmt.Sprintf("node %s did not answer within 2s", allocs[0].Node) {
			t.Errorf("the frozen one: got %+v", gpu)
		}
		if gpu := got[allocs[1].ID]; gpu.Utilization == nil {
			t.Errorf("the other one: got %+v", gpu)
		}
		began = time.Now()
		b.gpus(translateRef)
		if took := time.Since(began); took > 0 || asked.Load() != 1 {
			t.Errorf("asked again, %d times in all, and waited %v for it", asked.Load(), took)
		}
		frozen.Clear()
		time.Sleep(gpuSilent)
		if gpu := b.gpus(translateRef)[allocs[0].ID]; gpu.Utilization == nil {
			t.Errorf("thawed: got %+v", gpu)
		}
	})
}

func TestFrozenNodesLeaveConnectionsForEverythingElse(t *testing.T) {
	via := nodeStatsVia(func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() })
	nodes := make([]int, 2*maxConns)
	for i := range nodes {
		nodes[i] = 1
	}
	inBubbleVia(t, gpus(nodes...), via, func(t *testing.T, b *bubble) {
		b.launched(len(nodes))
		done := make(chan map[string]jobs.GPU)
		go func() { done <- b.gpus(translateRef) }()
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		b.scale(translateRef, len(nodes)-1)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a scale took %v while nodes did not answer", took)
		}
		got := <-done
		if len(got) != len(nodes) {
			t.Errorf("got %d answers, want one for each allocation", len(got))
		}
		for id, gpu := range got {
			if gpu.Utilization != nil || gpu.Why == "" {
				t.Errorf("%s: got %+v", id, gpu)
			}
		}
	})
}

func TestAGroupWithoutDevicesHasNoGPUs(t *testing.T) {
	inBubble(t, gpus(0), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, strings.Replace(translate, `device "nvidia/gpu" {
          count = 1
        }`, "", 1)), translateRef)
		b.scale(translateRef, 1)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		if got := b.gpus(translateRef); len(got) != 0 {
			t.Errorf("got %+v, want nothing", got)
		}
	})
}
