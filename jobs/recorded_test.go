package jobs

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var anHour = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func TestAnHourIsReadAsItWasRecorded(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		fill func(h *RecordedHour)
		most int // bytes
	}{
		{"no demand", func(*RecordedHour) {}, 2},
		{"one request", func(h *RecordedHour) { h.Arrive(anHour.Add(31*time.Minute), 1); h.Took(2.5, 1) }, 12},
		{"the first and the last step", func(h *RecordedHour) { h.Arrive(anHour, 3); h.Arrive(anHour.Add(time.Hour-1), 4) }, 12},
		{"a request a second", func(h *RecordedHour) {
			for i := range 3600 {
				h.Arrive(anHour.Add(time.Duration(i)*time.Second), 1)
				h.Took(4*math.Exp(0.8*draw.NormFloat64()), 1)
			}
		}, 480},
		{"as many as can be counted", func(h *RecordedHour) {
			for i := range h.Arrivals {
				h.Arrivals[i] = math.MaxUint32
			}
			h.Took(1e9, math.MaxUint32)
			h.Took(1e9, 1)
		}, 1820},
	} {
		h := RecordedHour{Start: anHour}
		c.fill(&h)
		text := h.AppendBinary(nil)
		if len(text) > c.most {
			t.Errorf("%s: %d bytes, at most %d are expected", c.name, len(text), c.most)
		}
		got := RecordedHour{Start: anHour}
		if err := got.UnmarshalBinary(text); err != nil || got != h {
			t.Errorf("%s: read %v, %v", c.name, got, err)
		}
	}
}

func TestATimeIsFoundInItsBin(t *testing.T) {
	for seconds := 0.002; seconds < 9000; seconds *= 1.01 {
		i := BinOfTime(seconds)
		if lo, hi := TimeOfBin(i, 0), TimeOfBin(i, 1); seconds < lo*0.999 || seconds > hi*1.001 {
			t.Fatalf("%g s is in bin %d, which is %g to %g s", seconds, i, lo, hi)
		}
	}
	for _, seconds := range []float64{0, -1, math.NaN(), math.Inf(-1), math.Inf(1), 1e300} {
		if i := BinOfTime(seconds); i < 0 || i >= timeBins {
			t.Errorf("%g s is in bin %d", seconds, i)
		}
	}
}

func TestTwoRecordsOfAnHourAddUp(t *testing.T) {
	a, b := RecordedHour{Start: anHour}, RecordedHour{Start: anHour}
	a.Arrive(anHour.Add(time.Minute), 2)
	a.Took(1, 2)
	b.Arrive(anHour.Add(time.Minute), 3)
	b.Arrive(anHour.Add(2*time.Minute), 1)
	b.Took(1, 3)
	a.Add(&b)
	if a.Requests() != 6 || a.Arrivals[6] != 5 || a.Times[BinOfTime(1)] != 5 {
		t.Errorf("%d requests, %d in the step, %d times", a.Requests(), a.Arrivals[6], a.Times[BinOfTime(1)])
	}
}

func FuzzRecordedHour(f *testing.F) {
	for _, text := range []string{"", "\x01", "\x01\x00", "\x02\x00", "\x01\x02\x00\x01\x01", "\x01\xff\xff\xff\xff\x0f\x00", "\x01\xcf\x05\x00", "\x01\xcd\x05\x00\x00\x01\x00\x01"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h := RecordedHour{Start: anHour}
		if h.UnmarshalBinary(text) != nil {
			if h != (RecordedHour{Start: anHour}) {
				t.Fatal("what is wrong left something behind")
			}
			return
		}
		again := RecordedHour{Start: anHour}
		if written := h.AppendBinary(nil); again.UnmarshalBinary(written) != nil || again != h {
			t.Fatalf("%x is read, and written as %x", text, bytes.TrimSpace(written))
		}
	})
}
