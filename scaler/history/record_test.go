package history_test

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/history"
)

func TestRecordedHoursAreReadInTheirOrderAndQuietOnesLeftOut(t *testing.T) {
	h := open(t)
	stored := func(start time.Time, n uint32) history.RecordedHour {
		hour := jobs.RecordedHour{Start: start}
		hour.Arrive(start.Add(time.Minute), n)
		return history.RecordedHour{Start: start, Data: hour.AppendBinary(nil)}
	}
	write(t, h, history.Entry{Service: "a", Recorded: []history.RecordedHour{stored(noon, 1), stored(noon.Add(100*time.Hour), 3)}})
	write(t, h, history.Entry{Service: "a", Recorded: []history.RecordedHour{stored(noon, 2)}}) // instead
	hours, err := h.Recorded(t.Context(), "a", noon.Add(-200*time.Hour), noon.Add(101*time.Hour))
	if err != nil || len(hours) != 2 || hours[0].Requests() != 2 || !hours[0].Start.Equal(noon) || hours[1].Requests() != 3 {
		t.Errorf("read %v, %v", hours, err)
	}
	if hours, err := h.Recorded(t.Context(), "b", noon, noon.Add(time.Hour)); err != nil || len(hours) > 0 {
		t.Errorf("of another service: %v, %v", hours, err)
	}
}

func TestOnlyTheScalerThatClaimedAServiceRecordsIt(t *testing.T) {
	h := open(t)
	hour := jobs.RecordedHour{Start: time.Now().UTC().Truncate(time.Hour)}
	hour.Arrive(hour.Start, 5)
	entry := func(epoch int64) history.Entry {
		return history.Entry{Service: "a", Epoch: epoch, Recorded: []history.RecordedHour{{Start: hour.Start, Data: hour.AppendBinary(nil)}}}
	}
	if _, err := h.Claim(t.Context(), "a", 1); err != nil {
		t.Fatal(err)
	}
	write(t, h, entry(1))
	claimed, err := h.Claim(t.Context(), "a", 2)
	if err != nil {
		t.Fatal(err)
	}
	if now := time.Now().UTC().Truncate(time.Hour); now.Equal(hour.Start) && (claimed.Recorded == nil || claimed.Recorded.Requests() != 5) {
		t.Errorf("the next scaler goes on with %v, want the 5 requests", claimed.Recorded)
	}
	hour.Arrive(hour.Start, 100)
	if epoch, fenced := history.Fenced(h.Write(t.Context(), entry(1))); !fenced || epoch != 2 {
		t.Errorf("a scaler that leads no more was not told so: %d", epoch)
	}
	if hours, err := h.Recorded(t.Context(), "a", hour.Start, hour.Start.Add(time.Hour)); err != nil || len(hours) != 1 || hours[0].Requests() != 5 {
		t.Errorf("and it wrote: %v, %v", hours, err)
	}
}

func TestMinutesInWhichNobodyRecordedAreKnown(t *testing.T) {
	h := open(t)
	midnight := noon.Truncate(24 * time.Hour)
	for _, at := range []time.Time{midnight.Add(-time.Minute), midnight, midnight.Add(30 * time.Second), midnight.Add(2 * time.Minute)} {
		if err := h.MarkRecorded(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		from, to time.Duration
		want     time.Duration
	}{{-time.Hour, time.Hour, 3 * time.Minute}, {time.Minute, time.Hour, time.Minute}, {-time.Hour, 0, time.Minute}, {time.Hour, 48 * time.Hour, 0}} {
		got, err := h.Covered(t.Context(), midnight.Add(c.from), midnight.Add(c.to))
		if err != nil || got != c.want {
			t.Errorf("from %v to %v: %v, %v; want %v", c.from, c.to, got, err, c.want)
		}
	}
}
