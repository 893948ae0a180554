package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

// inventory of the bubble's cluster, that knows nothing yet.
func (b *bubble) inventory() *Inventory {
	cfg := b.cfg.filled()
	return &Inventory{nomad: &Checkup{cfg: cfg, base: cfg.Address, http: b.http}}
}

func (b *bubble) room(ref jobs.Ref, gpus int) jobs.Room {
	b.t.Helper()
	room, err := b.inventory().Room(b.t.Context(), ref, gpus)
	if err != nil {
		b.t.Fatal(err)
	}
	return room
}

// ineligible has a node take nothing more, as nomad node eligibility -disable does.
func (b *bubble) ineligible(name string) {
	b.t.Helper()
	res, err := b.http.Get(b.cfg.Address + "/v1/nodes")
	if err != nil {
		b.t.Fatal(err)
	}
	var nodes []*api.NodeListStub
	err = json.NewDecoder(res.Body).Decode(&nodes)
	_ = res.Body.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Name != name {
			continue
		}
		req, err := http.NewRequest(http.MethodPut, b.cfg.Address+"/v1/node/"+n.ID+"/eligibility", strings.NewReader(`{"Eligibility": "ineligible"}`))
		if err != nil {
			b.t.Fatal(err)
		}
		res, err := b.http.Do(req)
		if err != nil || res.StatusCode != http.StatusOK {
			b.t.Fatal(res, err)
		}
		_ = res.Body.Close()
		return
	}
	b.t.Fatalf("no node %s", name)
}

func TestRoomCountsTheHealthyGPUsOfNodesThatTakeTheJob(t *testing.T) {
	sick := nomaddouble.GPUs(4)
	sick.Unhealthy = sick.IDs[:1]
	amd := nomaddouble.GPUs(8)
	amd.Vendor = "amd"
	gpu := func(name string, d nomaddouble.Device) nomaddouble.Node {
		return nomaddouble.Node{Name: name, Devices: []nomaddouble.Device{d}}
	}
	far := gpu("far", nomaddouble.GPUs(4))
	far.Datacenter = "dc2"
	batch := gpu("batch", nomaddouble.GPUs(2))
	batch.Pool = "batch"
	cfg := nomaddouble.Config{Nodes: []nomaddouble.Node{gpu("a", nomaddouble.GPUs(4)), gpu("b", nomaddouble.GPUs(3)), gpu("sick", sick),
		gpu("drained", nomaddouble.GPUs(8)), gpu("kept", nomaddouble.GPUs(5)), gpu("amd", amd), far, batch, {Name: "cpu"}}}
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		two := strings.Replace(translate, "count = 1", "count = 2", 1)
		two = strings.Replace(two, `group "server"`, `datacenters = ["dc1"]
  group "server"`, 1)
		b.ensure(parse(t, two), translateRef)
		if err := b.double.DrainNode("drained", time.Hour); err != nil {
			t.Fatal(err)
		}
		b.ineligible("kept")
		want := jobs.Room{PerReplica: 2, Device: "nvidia/gpu", GPUs: 10, Nodes: 3, Replicas: 4, Where: "datacenter dc1",
			Left: []string{"8 on 1 node being drained", "6 on 2 nodes in other datacenters or node pools", "5 on 1 node ineligible", "1 on 1 node unhealthy"}}
		got := b.room(translateRef, 7)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}

		// What runs takes nothing from it.
		b.watch()
		b.scale(translateRef, 2)
		b.until(translateRef, "two running", func(o jobs.Observation) bool { return running(o) == 2 })
		if got := b.room(translateRef, 7); got.GPUs != want.GPUs || got.Replicas != want.Replicas {
			t.Errorf("while two run: %+v", got)
		}
	})
}

func TestRoomOfAJobThatNomadDoesNotHaveGoesByWhatTheCallerSays(t *testing.T) {
	inBubble(t, gpus(4, 3), func(t *testing.T, b *bubble) {
		if diff := cmp.Diff(jobs.Room{PerReplica: 2, Device: "gpu", GPUs: 7, Nodes: 2, Replicas: 3}, b.room(translateRef, 2)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if room := b.room(translateRef, 0); room.PerReplica != 0 {
			t.Errorf("of a job that nobody knows: %+v", room)
		}
	})
}

func TestRoomOfAJobThatAsksForNoGPUIsNotLimitedByThem(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, strings.Replace(translate, "nvidia/gpu", "xilinx/fpga", 1)), translateRef)
		if room := b.room(translateRef, 2); room.PerReplica != 0 {
			t.Errorf("got %+v", room)
		}
		if _, err := b.inventory().Room(t.Context(), jobs.Ref{Namespace: "default", Job: "translate", Group: "other"}, 0); !errors.Is(err, jobs.ErrUnknownGroup) {
			t.Errorf("of a group that is not there: %v", err)
		}
	})
}

func TestOneReplicaTakesAllItsGPUsFromOneNode(t *testing.T) {
	node := func(devices ...deviceRoom) nodeRoom { return nodeRoom{devices: devices} }
	h100, l4 := deviceRoom{vendor: "nvidia", kind: "gpu", name: "H100", healthy: 4}, deviceRoom{vendor: "nvidia", kind: "gpu", name: "L4", healthy: 3}
	for _, c := range []struct {
		name string
		node nodeRoom
		asks []deviceAsk
		want int
	}{
		{"what is left over is no replica", node(l4), []deviceAsk{{name: "nvidia/gpu", count: 2}}, 1},
		{"one ask is not spread over two kinds", node(h100, l4), []deviceAsk{{name: "gpu", count: 3}}, 2},
		{"two asks may be", node(h100, l4), []deviceAsk{{name: "nvidia/gpu/H100", count: 1}, {name: "nvidia/gpu/L4", count: 1}}, 3},
		{"any kind leaves the named one to who names it", node(h100, l4), []deviceAsk{{name: "nvidia/gpu", count: 1}, {name: "nvidia/gpu/H100", count: 2}}, 2},
		{"one ask is larger than the node", node(h100), []deviceAsk{{name: "nvidia/gpu", count: 8}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.node.replicas(gpuAsks(groupInfo{devices: c.asks})); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestNodesAreReadOnceInFiveSecondsWhoeverAsks(t *testing.T) {
	var reads atomic.Int32
	counting := func(double http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/nodes" {
				reads.Add(1)
			}
			double.ServeHTTP(w, r)
		})
	}
	inBubbleVia(t, gpus(4), counting, func(t *testing.T, b *bubble) {
		i := b.inventory()
		for _, pause := range []time.Duration{0, time.Second, 3900 * time.Millisecond, 200 * time.Millisecond} {
			time.Sleep(pause)
			if _, err := i.Room(t.Context(), translateRef, 1); err != nil {
				t.Fatal(err)
			}
		}
		if got := reads.Load(); got != 2 {
			t.Errorf("%d reads in 5.1 s, want 2", got)
		}
	})
}

func TestASilentNomadIsWaitedForOneSecondAndNotAgainByTheNext(t *testing.T) {
	for _, path := range []string{"/v1/nodes", "/v1/job/translate"} {
		inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
			i := b.inventory()
			defer b.double.Hang(1, http.MethodGet, path)()
			start := time.Now()
			_, err := i.Room(t.Context(), translateRef, 1)
			if took := time.Since(start); !errors.Is(err, errNoAnswer) || took != roomTimeout {
				t.Errorf("%s: %v after %s", path, err, took)
			}
			start = time.Now()
			_, err = i.Room(t.Context(), translateRef, 1)
			if took := time.Since(start); !errors.Is(err, errNoAnswer) || took != 0 {
				t.Errorf("%s: the next is told %v after %s", path, err, took)
			}
			time.Sleep(roomAge)
			if room, err := i.Room(t.Context(), translateRef, 1); err != nil || room.GPUs != 4 {
				t.Errorf("%s: five seconds later: %+v, %v", path, room, err)
			}
		})
	}
}

func TestOneWhoGivesUpLeavesTheAnswerToOthers(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		i := b.inventory()
		release := b.double.Hang(1, http.MethodGet, "/v1/nodes")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := i.Room(ctx, translateRef, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who gives up after 0.1 s is told %v", err)
		}
		time.AfterFunc(200*time.Millisecond, release)
		if room, err := i.Room(t.Context(), translateRef, 1); err != nil || room.GPUs != 4 {
			t.Errorf("the next: %+v, %v", room, err)
		}
	})
}

func TestATokenThatMayNotReadNodesIsToldWhichRightItNeeds(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.double.SetToken("", nomaddouble.Rights{Capabilities: []string{"list-jobs", "read-job"}})
		_, err := b.inventory().Room(t.Context(), translateRef, 1)
		if !errors.Is(err, jobs.ErrDenied) || !strings.Contains(err.Error(), `node { policy = "read" }`) {
			t.Errorf("got %v", err)
		}
		b.double.SetToken("", nomaddouble.Rights{NodeRead: true})
		_, err = b.inventory().Room(t.Context(), translateRef, 1)
		if !errors.Is(err, jobs.ErrDenied) || !strings.Contains(err.Error(), "read-job") {
			t.Errorf("got %v", err)
		}
	})
}
