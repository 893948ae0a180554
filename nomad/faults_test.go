package nomad

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestAStreamThatTellsNothingIsRepairedByTheList(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		synctest.Wait()
		b.double.DeafenStreams(true)
		began := time.Now()
		b.scale(translateRef, 1)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		if took := time.Since(began); took > relistEvery+checkEvery {
			t.Errorf("seen after %v, want within %v", took, relistEvery)
		}
	})
}

func TestWhatAReturningServerTellsAgainBringsNothingBack(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 2)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 2 })
		b.scale(translateRef, 0)
		b.until(translateRef, "gone", func(o jobs.Observation) bool { return o.Allocations[0].Terminal() && o.Allocations[1].Terminal() })
		b.double.CollectGarbage()
		b.until(translateRef, "forgotten", func(o jobs.Observation) bool { return len(o.Allocations) == 0 })
		b.double.ReplayStreams(100)
		b.double.CutStreams()
		for range 200 { // as soon as the new stream speaks, until the next list and after
			time.Sleep(200 * time.Millisecond)
			synctest.Wait()
			if o := b.observe(translateRef); len(o.Allocations) != 0 {
				t.Fatalf("got %+v, want nothing back", o.Allocations)
			}
		}
	})
}

func TestAnAnswerThatLagsTakesNothingBack(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		time.Sleep(70 * time.Second) // two lists of an empty group
		b.scale(translateRef, 2)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 2 })
		b.double.AnswerOld(2, "/v1/allocations")
		b.double.AnswerOld(2, "/v1/jobs")
		for range 60 {
			time.Sleep(time.Second)
			if o := b.observe(translateRef); running(o) != 2 || o.Count != 2 {
				t.Fatalf("got %+v, want both still there", o)
			}
		}
	})
}

func TestADrainOfANodeIsSeenAtItsFirstEvent(t *testing.T) {
	inBubble(t, gpus(1, 1), func(t *testing.T, b *bubble) {
		allocs := b.launched(2)
		if err := b.double.DrainNode(allocs[0].Node, time.Hour); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, a := range b.observe(translateRef).Allocations {
			if want := a.NodeID == allocs[0].NodeID; a.NodeDraining != want || a.Desired != jobs.DesiredRun {
				t.Errorf("on %s: draining %v, desired %s; want draining %v before anything is asked of it", a.Node, a.NodeDraining, a.Desired, want)
			}
		}
	})
}

func TestADrainThatNoEventToldIsSeenByTheList(t *testing.T) {
	inBubble(t, gpus(1, 1), func(t *testing.T, b *bubble) {
		node := b.launched(2)[0].Node
		draining := func() (nodes []string) {
			o, err := b.another().Observe(t.Context(), translateRef) // reads lists, hears nothing
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range o.Allocations {
				if a.NodeDraining {
					nodes = append(nodes, a.Node)
				}
			}
			return nodes
		}
		if err := b.double.DrainNode(node, time.Hour); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{node}, draining()); diff != "" {
			t.Errorf("drained nodes (-want +got):\n%s", diff)
		}
		if err := b.double.UndrainNode(node); err != nil {
			t.Fatal(err)
		}
		if got := draining(); len(got) != 0 {
			t.Errorf("the drain was called off: got %v", got)
		}
	})
}

func TestAReplicaThatIsLostWithItsNodeIsReplacedByOne(t *testing.T) {
	inBubble(t, gpus(1, 1), func(t *testing.T, b *bubble) {
		before := b.launched(1)[0]
		if err := b.double.LoseNode(before.Node); err != nil {
			t.Fatal(err)
		}
		o := b.until(translateRef, "another running", func(o jobs.Observation) bool { return running(o) == 1 && len(o.Allocations) == 2 })
		for _, a := range o.Allocations {
			if a.ID != before.ID {
				continue
			}
			if a.Client != jobs.ClientLost || a.MayServe() || !strings.HasPrefix(a.Failure, "lost with its node: ") {
				t.Errorf("the lost one: got %+v", a)
			}
		}
		if err := b.double.ReturnNode(before.Node); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if o := b.observe(translateRef); running(o) != 1 {
			t.Errorf("its node is back: got %+v, want one that may serve", o.Allocations)
		}
	})
}

func TestADockerPullIsToldAsItGoes(t *testing.T) {
	inBubble(t, gpus(1), func(t *testing.T, b *bubble) {
		b.double.SetStartup("default", "translate", nomaddouble.Startup{Delay: 2 * time.Minute, Image: "vllm/vllm-openai:v0.6",
			Progress: []string{"Docker image pull progress: 1 of 8 layers", "Docker image pull progress: 7 of 8 layers"}})
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		for _, want := range []string{"Downloading image vllm/vllm-openai:v0.6", "Docker image pull progress: 1 of 8 layers", "Docker image pull progress: 7 of 8 layers"} {
			b.until(translateRef, want, func(o jobs.Observation) bool {
				return len(o.Allocations) == 1 && strings.HasPrefix(o.Allocations[0].Progress, want)
			})
		}
		a := b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 }).Allocations[0]
		if a.Progress != "" || !a.Received.Before(a.Started) || a.Pulling.Before(a.Received) || a.Started.Sub(a.Pulling) < time.Minute {
			t.Errorf("got %+v, want a pull of two minutes", a)
		}
	})
}

func TestAnImageThatCannotBePulledIsSaid(t *testing.T) {
	inBubble(t, gpus(1), func(t *testing.T, b *bubble) {
		b.double.SetStartup("default", "translate", nomaddouble.Startup{Image: "vllm/vllm-openai:typo",
			Fail: "Failed to pull `vllm/vllm-openai:typo`: API error (404): manifest unknown"})
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		b.until(translateRef, "why", func(o jobs.Observation) bool {
			return len(o.Allocations) == 1 && strings.Contains(o.Allocations[0].Failure, "driver: Failed to pull `vllm/vllm-openai:typo`: API error (404): manifest unknown")
		})
	})
}

// A process that watches through whatever befalls its connections and servers
// has, a minute after the last fault, the picture that a new one reads.
func TestAfterAStormOfFaultsThePictureIsTheTruth(t *testing.T) {
	for seed := range uint64(12) {
		inBubble(t, gpus(3, 3), func(t *testing.T, b *bubble) {
			random := rand.New(rand.NewPCG(seed, 4))
			b.watch()
			b.ensure(parse(t, translate), translateRef)
			operator := b.another()
			for range 40 {
				switch random.IntN(12) {
				case 0:
					b.double.CutStreams()
				case 1:
					b.double.ReplayStreams(random.IntN(60))
					b.double.CutStreams()
				case 2:
					b.double.TearStreams(true)
				case 3:
					b.double.TearStreams(false)
				case 4:
					b.double.DeafenStreams(random.IntN(2) == 0)
				case 5:
					b.double.MuteStreams(random.IntN(2) == 0)
				case 6:
					b.double.AnswerOld(1+random.IntN(3), "/v1/allocations")
				case 7:
					b.double.Fail(1+random.IntN(3), "GET", "", http.StatusInternalServerError, "rpc error: EOF")
				case 8:
					b.double.CollectGarbage()
				case 9:
					if o, err := b.Observe(t.Context(), translateRef); err == nil && len(o.Allocations) > 0 {
						_ = b.double.Crash(o.Allocations[random.IntN(len(o.Allocations))].ID, 1)
					}
				default:
					_ = operator.Scale(t.Context(), translateRef, random.IntN(7), "an operator", nil)
				}
				time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			}
			b.double.TearStreams(false)
			b.double.DeafenStreams(false)
			b.double.MuteStreams(false)
			b.double.ReplayStreams(0)
			b.double.CutStreams()
			time.Sleep(time.Minute)
			b.double.CollectGarbage()
			time.Sleep(time.Minute)
			want, err := b.another().Observe(t.Context(), translateRef)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(seen(want), seen(b.observe(translateRef))); diff != "" {
				t.Errorf("seed %d (-read anew +watched):\n%s", seed, diff)
			}
		})
	}
}

// seen is what two processes must agree on.
func seen(o jobs.Observation) map[string]any {
	facts := map[string]any{"count": o.Count, "blocked": o.Blocked}
	for _, a := range o.Allocations {
		b, _ := json.Marshal([]any{a.Index, a.Address, a.Desired, a.Client, a.Version, a.Devices})
		facts[a.ID] = string(b)
	}
	return facts
}
