package scaler

import (
	"strings"
	"testing"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"google.golang.org/protobuf/proto"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

// recorded returns the arrivals of translate by their step, from an hour before.
func (h *house) recorded() map[time.Time]uint32 {
	h.t.Helper()
	hours, err := h.history.Recorded(h.t.Context(), "translate", time.Now().Add(-3*time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		h.t.Fatal(err)
	}
	steps := map[time.Time]uint32{}
	for _, hour := range hours {
		for i, n := range hour.Arrivals {
			if n > 0 {
				steps[hour.Start.Add(time.Duration(i)*jobs.RecordedStep)] += n
			}
		}
	}
	return steps
}

func TestWhatIsAskedIsRecordedByTheHourAndOutlivesItsScaler(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		if keys := h.redis.Keys(); strings.Contains(strings.Join(keys, " "), "demand:") {
			t.Errorf("nobody has asked, and Redis has %v", keys)
		}
		wait := func(until time.Time) { pass(time.Until(until)) }
		hour := time.Now().UTC().Truncate(time.Hour)
		wait(hour.Add(30*time.Minute + 3*time.Second))
		h.ledger.ask(3)
		wait(hour.Add(30*time.Minute + 8*time.Second))
		h.stop() // in the middle of the step; its last words are written
		h.start()
		h.ledger.ask(2)
		wait(hour.Add(59*time.Minute + 55*time.Second))
		h.ledger.ask(4)
		wait(hour.Add(61*time.Minute + 5*time.Second))
		h.ledger.ask(1)
		pass(30 * time.Second)
		got := h.recorded()
		for at, want := range map[time.Duration]uint32{30 * time.Minute: 5, 59*time.Minute + 50*time.Second: 4, 61 * time.Minute: 1} {
			if n := got[hour.Add(at)]; n != want {
				t.Errorf("%d requests are recorded %v into the hour, want %d; all: %v", n, at, want, got)
			}
		}
		covered, err := h.history.Covered(t.Context(), hour, hour.Add(time.Hour))
		if err != nil || covered != time.Hour {
			t.Errorf("a scaler was there for %v of the hour, %v; want all of it", covered, err)
		}
		for _, key := range h.redis.Keys() {
			if strings.Contains(key, "demand:") || strings.HasPrefix(key, "pl:recorded:") {
				if left := h.redis.TTL(key); left <= history.KeepRecorded-2*time.Hour || left > history.KeepRecorded {
					t.Errorf("%s is kept for %v more", key, left)
				}
			}
		}
	})
}

func TestWhatCameWhileNobodyCouldLookIsRecordedAsSpreadOverThatTime(t *testing.T) {
	begun := time.Date(2026, 11, 21, 9, 59, 30, 0, time.UTC)
	var r recorder
	r.arrive(begun, begun.Add(time.Minute), 61)
	var total uint64
	for _, h := range r {
		total += h.Requests()
		for i, n := range h.Arrivals {
			if n > 11 {
				t.Errorf("%d requests in step %d of the hour from %v", n, i, h.Start)
			}
		}
	}
	if len(r) != 2 || total != 61 || r[0].Requests() < 30 || r[0].Requests() > 31 {
		t.Errorf("%d hours, %d requests", len(r), total)
	}
	if r.arrive(time.Time{}, begun.Add(-2*time.Hour), 5); len(r) != 2 || r[1].Arrivals[0] < 15 {
		t.Errorf("requests at a time that has been recorded already, by a clock that was set back, are not in the newest hour: %d", r[1].Arrivals[0])
	}
}

func TestTimesInASlotAreRecordedOnceHoweverOftenTheyArePublished(t *testing.T) {
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	sketch, err := ddsketch.NewDefaultDDSketch(0.01)
	if err != nil {
		t.Fatal(err)
	}
	item := func() decide.LatencyItem {
		text, err := proto.Marshal(sketch.ToProto())
		if err != nil {
			t.Fatal(err)
		}
		return decide.LatencyItem{Activator: "a", Start: at, Count: uint64(sketch.GetCount()), Sketch: text}
	}
	var r recorder
	seen := latencies{}
	publish := func() {
		tr := &traffic{since: at, latency: []decide.LatencyItem{item()}}
		r.note(at.Add(2*time.Second), tr, seen)
		seen.add(tr.latency)
	}
	_ = sketch.AddWithCount(2, 3)
	publish()
	publish()
	_ = sketch.AddWithCount(2, 1)
	_ = sketch.AddWithCount(0.4, 2)
	publish()
	h := r[0]
	if h.Times[jobs.BinOfTime(2)] != 4 || h.Times[jobs.BinOfTime(0.4)] != 2 {
		t.Errorf("4 requests of 2 s and 2 of 0.4 s are recorded as %v", h.Times)
	}
}

func TestAnHourThatCouldNotBeStoredIsStoredLater(t *testing.T) {
	at := time.Date(2026, 11, 21, 9, 59, 59, 0, time.UTC)
	var r recorder
	r.arrive(at, at, 1)
	lost := r.take()
	r.arrive(at.Add(2*time.Second), at.Add(2*time.Second), 1)
	r.stored(at.Add(3*time.Second), lost, false)
	again := r.take()
	if len(lost) != 1 || len(again) != 2 {
		t.Fatalf("%d hours were to be stored, and then %d; want 1 and 2", len(lost), len(again))
	}
	r.stored(at.Add(4*time.Second), again, true)
	if len(r) != 1 || len(r.take()) != 0 {
		t.Errorf("%d hours are kept after all is stored", len(r))
	}
}
