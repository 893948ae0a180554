package simulate

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// aRecording is two hours, of which the second has too few times of its own.
func aRecording() *Recording {
	from := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	a, b := jobs.RecordedHour{Start: from.Truncate(time.Hour)}, jobs.RecordedHour{Start: from.Truncate(time.Hour).Add(2 * time.Hour)}
	a.Arrive(from.Add(-10*time.Second), 7) // before
	a.Arrive(from, 2)
	a.Arrive(from.Add(70*time.Second), 300)
	a.Took(0.5, 100)
	a.Took(20, 100)
	b.Arrive(from.Add(2*time.Hour), 5)
	b.Arrive(from.Add(2*time.Hour+25*time.Minute), 9) // after
	b.Took(3, 2)
	return &Recording{Service: "chat", From: from, To: from.Add(2*time.Hour + 10*time.Minute), Hours: []jobs.RecordedHour{a, b}}
}

func requestsOf(t *testing.T, s Source) (list []Request) {
	t.Helper()
	for {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
}

func TestARecordingIsTheSameTraceWhetherReplayedOrWrittenAndRead(t *testing.T) {
	r := aRecording()
	direct := requestsOf(t, r.Source(5))
	var text bytes.Buffer
	if err := r.Write(&text, false); err != nil {
		t.Fatal(err)
	}
	trace, err := NewTrace(&text, "t.csv", DefaultDurations(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(direct, requestsOf(t, trace)); diff != "" {
		t.Errorf("replayed, and read from the file:\n%s", diff)
	}
	if n := r.Requests(); n != 307 || len(direct) != 307 {
		t.Errorf("%d requests are told and %d replayed, want 307", n, len(direct))
	}
}

func TestRequestsOfARecordingComeInTheirStepsAndTakeWhatWasRecorded(t *testing.T) {
	steps := map[time.Duration]int{}
	quick, slow := 0, 0
	for _, r := range requestsOf(t, aRecording().Source(1)) {
		steps[r.At.Truncate(jobs.RecordedStep)]++
		switch {
		case math.Abs(r.Seconds-0.5) < 0.06:
			quick++
		case math.Abs(r.Seconds-20) < 2.4:
			slow++
		case r.At < 2*time.Hour || math.Abs(r.Seconds-3) > 0.4:
			t.Errorf("a request at %v takes %.3f s", r.At, r.Seconds)
		}
	}
	if diff := cmp.Diff(map[time.Duration]int{0: 2, 70 * time.Second: 300, 2 * time.Hour: 5}, steps); diff != "" {
		t.Errorf("want, got:\n%s", diff)
	}
	if quick < 110 || slow < 110 {
		t.Errorf("%d quick requests and %d slow ones; as many of both were recorded", quick, slow)
	}
}

func TestARecordingInMinutesIsWhatAnyReaderOfTracesKnows(t *testing.T) {
	var text bytes.Buffer
	if err := aRecording().Write(&text, true); err != nil {
		t.Fatal(err)
	}
	if want := "minute,service,count\n0,chat,2\n1,chat,300\n120,chat,5\n"; text.String() != want {
		t.Errorf("got %s", text.String())
	}
}

func TestARecordingWithoutDemandOrTimesIsATraceToo(t *testing.T) {
	r := aRecording()
	for i := range r.Hours {
		r.Hours[i].Times = jobs.RecordedHour{}.Times
	}
	if n := len(requestsOf(t, r.Source(1))); n != 307 || r.Times() != 0 {
		t.Errorf("%d requests without times in a slot", n)
	}
	r.Hours = nil
	var text bytes.Buffer
	if err := r.Write(&text, false); err != nil || strings.TrimSpace(text.String()) != recordedColumns {
		t.Errorf("an empty one: %q, %v", text.String(), err)
	}
	if n := len(requestsOf(t, r.Source(1))); n != 0 {
		t.Errorf("an empty one has %d requests", n)
	}
}

func TestColdStartsAreDrawnAmongThoseThatWereSeen(t *testing.T) {
	setup := DefaultSetup()
	setup.ColdStarts, setup.Launch = []float64{3, 5, 8}, 0
	met := map[time.Duration]int{}
	for draw, i := setup.launches("chat", 1), 0; i < 300; i++ {
		met[draw()]++
	}
	if len(met) != 3 || met[3*time.Second] < 70 || met[5*time.Second] < 70 || met[8*time.Second] < 70 {
		t.Errorf("drawn: %v", met)
	}
}
