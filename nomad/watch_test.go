package nomad

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestAWakeIsSeenAsTheStreamTellsIt(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		synctest.Wait()
		began := time.Now()
		b.scale(translateRef, 1)
		o := b.until(translateRef, "an address", func(o jobs.Observation) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Address != ""
		})
		if took, plan := time.Since(began), nomaddouble.DefaultDelays().Plan; took > plan {
			t.Errorf("address known after %v, want with the plan, after %v", took, plan)
		}
		if a := o.Allocations[0]; a.Client != jobs.ClientPending || !a.Started.IsZero() {
			t.Errorf("got %+v, want it pending: the client has not spoken", a)
		}
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		b.scale(translateRef, 0)
		b.until(translateRef, "gone", func(o jobs.Observation) bool { return o.Allocations[0].Terminal() })
	})
}

func TestWhileTheStreamIsRefusedListsTellEverything(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.double.MuteStreams(true)
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		began := time.Now()
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		if took := time.Since(began); took > 3*blockingWait {
			t.Errorf("seen running after %v", took)
		}
		if b.streams("default") {
			t.Error("a stream that never spoke counts as alive")
		}
	})
}

func TestACutStreamIsOpenedAgainAndMissesNothing(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		for n := 1; n <= 4; n++ {
			time.Sleep(20 * time.Second) // it lives again
			b.double.CutStreams()
			b.scale(translateRef, n)
			b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == n })
		}
		streams := b.double.Calls("GET", "/v1/event/stream")
		if len(streams) < 4 {
			t.Errorf("got %d streams, want one after each cut", len(streams))
		}
	})
}

func TestListsStandInAsSoonAsTheStreamHasEnded(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		time.Sleep(3 * time.Second) // the stream lives, and lists are far apart
		b.double.MuteStreams(true)
		b.double.CutStreams()
		time.Sleep(3 * time.Second)
		for round := range 6 {
			want := round % 3
			began := time.Now()
			b.scale(translateRef, want)
			b.until(translateRef, "it", func(o jobs.Observation) bool { return running(o) == want })
			if took := time.Since(began); took > time.Second {
				t.Errorf("round %d: seen after %v", round, took)
			}
		}
	})
}

func TestAPurgeThatNoEventToldIsSeenByTheList(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.double.MuteStreams(true)
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.observe(translateRef)
		b.double.Purge("default", "translate")
		began := time.Now()
		for {
			_, err := b.Observe(t.Context(), translateRef)
			if errors.Is(err, jobs.ErrPurged) {
				break
			}
			if time.Since(began) > relistEvery {
				t.Fatalf("not seen within %v: %v", relistEvery, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestTheListRepairsWhatGarbageCollectionTookWithoutAnEvent(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		b.scale(translateRef, 0)
		b.until(translateRef, "gone", func(o jobs.Observation) bool { return o.Allocations[0].Terminal() })
		b.double.CollectGarbage()
		began := time.Now()
		b.until(translateRef, "forgotten", func(o jobs.Observation) bool { return len(o.Allocations) == 0 })
		if took := time.Since(began); took > relistEvery {
			t.Errorf("forgotten after %v, want within %v", took, relistEvery)
		}
	})
}

func TestAnOutOfBandCountIsSeen(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.observe(translateRef)
		if err := b.another().Scale(t.Context(), translateRef, 2, "an operator", nil); err != nil {
			t.Fatal(err)
		}
		b.until(translateRef, "their count", func(o jobs.Observation) bool { return o.Count == 2 })
	})
}

func TestJobsOfSeveralNamespacesAreFollowed(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		other := jobs.Ref{Namespace: "research", Job: "translate", Group: "server"}
		s := parse(t, translate)
		for _, ref := range []jobs.Ref{translateRef, other} {
			b.ensure(s, ref)
			b.scale(ref, 1)
		}
		for _, ref := range []jobs.Ref{translateRef, other} {
			o := b.until(ref, "running", func(o jobs.Observation) bool { return running(o) == 1 })
			if len(o.Allocations) != 1 || o.Allocations[0].Ref != ref {
				t.Errorf("%s: got %+v, want its own allocation only", ref, o.Allocations)
			}
		}
		if got := b.listened(); !slices.Equal(got, []string{"default", "research"}) {
			t.Errorf("streams of %v, want one of each namespace", got)
		}
	})
}

func TestOnlyOneWatchRuns(t *testing.T) {
	inBubble(t, gpus(1), func(t *testing.T, b *bubble) {
		stop := b.watch()
		synctest.Wait()
		if err := b.Watch(t.Context(), func(jobs.Ref) {}); err == nil {
			t.Error("a second Watch was let in")
		}
		stop()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Watch(ctx, func(jobs.Ref) {}); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
	})
}

func TestChangesAreNeverToldTwiceAtOnce(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		var inside, calls atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = b.Watch(ctx, func(jobs.Ref) {
				if inside.Add(1) != 1 {
					t.Error("changed was called while it ran")
				}
				calls.Add(1)
				time.Sleep(50 * time.Millisecond)
				inside.Add(-1)
			})
		})
		for _, n := range []int{1, 3, 0, 2} {
			b.scale(translateRef, n)
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if calls.Load() == 0 {
			t.Error("changed was never called")
		}
	})
}

// scripted answers the stream by a script and lists as those of an empty cluster.
func scripted(stream func(w http.ResponseWriter, r *http.Request)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/event/stream", stream)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Nomad-Index", "7")
		w.Header().Set("X-Nomad-LastContact", "0")
		w.Header().Set("X-Nomad-KnownLeader", "true")
		_, _ = w.Write([]byte("[]"))
	})
	return mux
}

// streamTimes returns when streams were opened, in the bubble's time.
func streamTimes(t *testing.T, lasts time.Duration, stream func(w http.ResponseWriter, r *http.Request)) (times []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		began := time.Now()
		b := serveBubble(t, scripted(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			times = append(times, time.Since(began))
			mu.Unlock()
			stream(w, r)
		}), &wg)
		stop := b.watch()
		time.Sleep(lasts)
		stop()
	})
	return times
}

func TestAStreamWithoutAFirstLineIsGivenUpAfterTwoSeconds(t *testing.T) {
	times := streamTimes(t, 3*time.Second, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush() // 200 and then nothing
		<-r.Context().Done()
	})
	if len(times) != 2 || times[1]-times[0] < firstLine || times[1]-times[0] > firstLine+time.Second {
		t.Errorf("streams opened at %v, want the second a little over %v after the first", times, firstLine)
	}
}

func TestAStreamThatFallsSilentIsGivenUpAfterFortyFiveSeconds(t *testing.T) {
	times := streamTimes(t, 90*time.Second, func(w http.ResponseWriter, r *http.Request) {
		for range 2 {
			_, _ = w.Write([]byte("{}\n"))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(30 * time.Second):
			case <-r.Context().Done():
			}
		}
		<-r.Context().Done()
	})
	// Heartbeats at 0 and 30 s, then silence: 75 s.
	if len(times) != 2 || times[1] < 75*time.Second || times[1] > 77*time.Second {
		t.Errorf("streams opened at %v, want the second at 75 s", times)
	}
}

func TestAStreamThatBeatsIsKept(t *testing.T) {
	times := streamTimes(t, 10*time.Minute, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("{}\n"))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(30 * time.Second):
			case <-r.Context().Done():
			}
		}
	})
	if len(times) != 1 {
		t.Errorf("streams opened at %v, want one", times)
	}
}

func TestAStreamThatIsRefusedIsTriedEverMoreRarely(t *testing.T) {
	times := streamTimes(t, 5*time.Minute, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusInternalServerError)
	})
	if len(times) < 10 || len(times) > 60 {
		t.Errorf("%d tries in five minutes, want some dozens", len(times))
	}
}
