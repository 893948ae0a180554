package simulate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// script is a controller that wants what it is told.
type script struct{ wanted, looks int }

func (s *script) period() (change, first time.Duration)  { return 0, 0 }
func (s *script) look(*model) (int, time.Duration)       { s.looks++; return s.wanted, never }
func always(d time.Duration) func() time.Duration        { return func() time.Duration { return d } }
func (m *model) want(s *script, n int, at time.Duration) { m.advance(at); s.wanted = n; m.look() }

func small(s *script) *model {
	return newModel(limits{slots: 2, gpus: 1, maxHeld: 3, maxWait: time.Minute}, s, always(10*time.Second))
}

func TestALoneRequestWaitsForTheColdStartAndTheReplicaCostsUntilItIsStopped(t *testing.T) {
	s := &script{wanted: 1}
	m := small(s)
	m.arrive(time.Second, 5)
	m.want(s, 0, 30*time.Second)
	m.end(time.Minute)
	f := &m.figures
	// Launched by the first look, at 0; ready at 10; stopped at 30.
	if f.gpuSeconds != 30 || f.waited != 9 || f.longest != 9*time.Second || f.cold != 1 || f.launches != 1 || f.stops != 1 {
		t.Errorf("got %+v", f)
	}
}

func TestEverythingThatHappensIsCountedOnce(t *testing.T) {
	s := &script{wanted: 1}
	m := small(s)
	m.arrive(time.Second, 5)
	m.end(time.Minute)
	looks := uint64(s.looks)
	if got := m.figures.events; looks == 0 || got != looks+3 {
		t.Errorf("%d events with %d looks, want three more: it came, a replica was ready, it was through", got, looks)
	}
}

func TestOneWithRequestsDrainsAndIsTakenBackBeforeAnotherIsLaunched(t *testing.T) {
	s := &script{wanted: 1}
	m := small(s)
	m.arrive(11*time.Second, 20) // until 31
	m.want(s, 0, 15*time.Second)
	if len(m.replicas) != 1 || !m.replicas[0].draining {
		t.Fatalf("got %+v, want one that drains", m.replicas)
	}
	m.want(s, 1, 20*time.Second)
	if len(m.replicas) != 1 || m.replicas[0].draining || m.figures.launches != 1 {
		t.Fatalf("got %+v after %d launches, want the same one again", m.replicas, m.figures.launches)
	}
	m.want(s, 0, 25*time.Second)
	m.end(time.Minute)
	if m.figures.gpuSeconds != 31 || m.figures.stops != 1 {
		t.Errorf("it costs %v s with %d stops, want 31 s with one: until its last request", m.figures.gpuSeconds, m.figures.stops)
	}
}

func TestTheHighestIndexGoesAndTheLowestFreeOneComes(t *testing.T) {
	s := &script{wanted: 3}
	m := small(s)
	m.advance(11 * time.Second)
	m.want(s, 2, 12*time.Second)
	m.want(s, 3, 13*time.Second)
	var got []int
	for _, r := range m.replicas {
		got = append(got, r.index)
	}
	if diff := cmp.Diff([]int{0, 1, 2}, got); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	if m.replicas[2].launched != 13*time.Second || m.figures.flips != 1 {
		t.Errorf("the third was launched at %v with %d flips, want 13s and one", m.replicas[2].launched, m.figures.flips)
	}
}

func TestWhatFindsTheHoldFullIsRefusedAndWhatWaitsTooLongTimesOut(t *testing.T) {
	s := &script{}
	m := small(s)
	for range 5 {
		m.arrive(time.Second, 1)
	}
	m.end(2 * time.Minute)
	if m.figures.refused != 2 || m.figures.timedOut != 3 || m.figures.released != 0 {
		t.Errorf("refused %d, timed out %d, released %d; want 2, 3, 0", m.figures.refused, m.figures.timedOut, m.figures.released)
	}
}

func TestSlotsGoToTheLeastLoadedReplicaInOrderOfArrival(t *testing.T) {
	s := &script{wanted: 2}
	m := small(s)
	for i := range 3 {
		m.arrive(time.Duration(i+1)*time.Second, 100)
	}
	m.advance(10 * time.Second)
	if a, b := m.replicas[0].inFlight, m.replicas[1].inFlight; a != 2 || b != 1 {
		t.Errorf("in flight %d and %d, want 2 and 1", a, b)
	}
	if m.figures.waited != 9+8+7 {
		t.Errorf("waited %v s, want 24", m.figures.waited)
	}
}

func TestMeanDemandIsThatOfASampledHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g integral
		var now time.Duration
		const steps = 100 // of a second
		var history []int
		level := 0
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			pause := rapid.IntRange(0, 3000).Draw(t, "pause")
			for range pause {
				history = append(history, level)
			}
			now += time.Duration(pause) * time.Second / steps
			level = rapid.IntRange(0, 50).Draw(t, "level")
			g.move(now, level)
		}
		w := int64(rapid.SampledFrom([]int{6, 30, 60}).Draw(t, "window"))
		part := int(now/(time.Second/steps)) % steps
		n := min(len(history), part+int(w-1)*steps)
		if n == 0 {
			return
		}
		sum := 0
		for _, v := range history[len(history)-n:] {
			sum += v
		}
		if want, got := float64(sum)/float64(n), g.mean(w); got < want-1e-6 || got > want+1e-6 {
			t.Fatalf("mean over %d s at %v: got %v, want %v", w, now, got, want)
		}
	})
}

func TestNoQuantileOfTheWaitsIsBeyondTheLongest(t *testing.T) {
	of := tally{waits: &waitTimes{}}
	for range 100 {
		of.release(172_400*time.Millisecond, true)
	}
	if p99 := of.quantile(0.99); p99 > 172.4 || p99 < 172 {
		t.Errorf("all wait 172.4 s, and the 99th percentile is %v", p99)
	}
}
