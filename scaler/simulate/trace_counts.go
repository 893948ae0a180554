package simulate

import (
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func (t *Trace) scanMinute() (step, error) {
	var cells [3]string
	if err := t.row(cells[:]); err != nil {
		return step{}, err
	}
	return t.minute(cells[:])
}

func (t *Trace) minute(cells []string) (step, error) {
	at, err := t.moment(cells[0], "minute", time.Minute)
	if err != nil {
		return step{}, err
	}
	count, err := t.number(cells[2], "count", mostCount)
	if err != nil {
		return step{}, err
	}
	name, err := t.service(cells[1])
	if err != nil {
		return step{}, err
	}
	s := step{at: at, unit: time.Minute, service: name, count: int(count)}
	if len(cells) > 3 { // a finer one comes yet
		return s, nil
	}
	if err := t.ordered(at, t.base, "minute"); err != nil {
		return step{}, err
	}
	return s, t.room(count)
}

// scanRecorded reads a line of recorded demand: the step that begins at a second
// of a minute. An empty slot_ms is the one that was last said of the service.
func (t *Trace) scanRecorded() (step, error) {
	var cells [5]string
	if err := t.row(cells[:]); err != nil {
		return step{}, err
	}
	s, err := t.minute(cells[:])
	if err != nil {
		return step{}, err
	}
	second, err := t.number(cells[3], "second", 59)
	if err != nil {
		return step{}, err
	}
	whole := int64(jobs.RecordedStep / time.Second)
	if second%whole != 0 {
		return step{}, t.wrong("second: %d is not the beginning of a step; allowed: multiples of %d", second, whole)
	}
	s.at, s.unit = (s.at*60+second)/whole, jobs.RecordedStep
	if cells[4] != "" {
		times, err := parseTimes(cells[4])
		if err != nil {
			return step{}, t.wrong("slot_ms: %v", err)
		}
		t.times[s.service] = times
	}
	s.times = t.times[s.service]
	if err := t.ordered(s.at, t.base*int64(time.Minute/jobs.RecordedStep), "the step of minute and second"); err != nil {
		return step{}, err
	}
	return s, t.room(int64(s.count))
}

// room refuses more requests at one moment than can be in memory together.
func (t *Trace) room(count int64) error {
	if t.crowd += count; t.crowd > mostAtOnce {
		return t.wrong("count: this makes %d requests of all services in one step; allowed: %.0f", t.crowd, mostAtOnce)
	}
	return nil
}
