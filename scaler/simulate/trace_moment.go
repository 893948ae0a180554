package simulate

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// unixTime is where a trace's first column is taken for Unix time: no trace is as
// long as the time from 1970 to then, and no log as old.
const (
	unixTime = 1e12 // milliseconds: 2001
	unixEnd  = 1e13 // 2286
)

// lookAhead reads a line ahead to see whether the first column counts from the
// trace's start or is Unix time, in units. Logs have the latter, and a replay from
// 1970 on would find half a century of idle replicas.
func (t *Trace) lookAhead(unit time.Duration) error {
	text, err := t.scan()
	if errors.Is(err, io.EOF) {
		t.line-- // Next says it, at its line
		return nil
	}
	if err != nil {
		return err
	}
	t.ahead = &text
	cell, _, _ := strings.Cut(text, ",")
	first, err := strconv.ParseFloat(strings.TrimSpace(cell), 64)
	ms := first * float64(unit.Milliseconds())
	if err != nil || !(ms >= unixTime && ms < unixEnd) { // NaN, too
		return nil
	}
	t.begins = time.UnixMilli(int64(ms)).UTC().Truncate(time.Minute)
	t.base = t.begins.UnixMilli() / unit.Milliseconds()
	return nil
}

// Begins is the moment that requests' times count from, a whole minute; zero if
// the trace does not say when it was.
func (t *Trace) Begins() time.Time { return t.begins }

// moment reads the first column, in units since the trace's start.
func (t *Trace) moment(text, column string, unit time.Duration) (int64, error) {
	most := t.base + int64(longestTrace/unit)
	at, fault := wholeNumber(text, float64(most))
	switch {
	case fault == nil:
		return at - t.base, nil
	case t.base == 0:
		return 0, t.wrong("%s: %v a whole number from 0 to %d, or Unix time in %s", column, fault, most, unitNames[unit])
	default:
		return 0, t.wrong("%s: %v Unix time as in the first line, up to ten years later: %d to %d", column, fault, t.base, most)
	}
}

var unitNames = map[time.Duration]string{time.Millisecond: "milliseconds", time.Minute: "minutes"}

// ordered refuses what comes before the last line. base is that of at's unit.
func (t *Trace) ordered(at, base int64, column string) error {
	if at < t.last {
		return t.wrong("%s: %d comes after %d: a trace is sorted by time", column, base+at, base+t.last)
	}
	if at > t.last {
		t.crowd = 0
	}
	t.last = at
	return nil
}
