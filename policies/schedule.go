package policies

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a container without the zones of its system knows them, too

	"github.com/hashicorp/cronexpr"
)

// Next returns when the schedule's first window after a moment begins, in UTC;
// false if there is none, or if the schedule is not a valid one.
//
// The cron fields are compared with what a clock in the zone shows, and For is
// time that really passes. Where the clock is put forward, a start that it never
// shows is the moment at which it is put forward; where it is put back, a start
// that it shows twice is the first of the two, and only that.
func (s Schedule) Next(after time.Time) (time.Time, bool) {
	zone, err := time.LoadLocation(s.Zone)
	if err != nil {
		return time.Time{}, false
	}
	cron, err := cronexpr.Parse(s.Cron)
	if err != nil {
		return time.Time{}, false
	}
	// The clock's face as if it were UTC, which no change ever disturbs. It begins
	// before any change that after may lie beyond.
	_, offset := after.In(zone).Zone()
	face := time.Unix(after.Unix()+int64(offset), 0).UTC().Add(-clockChange)
	for {
		if face = cron.Next(face); face.IsZero() {
			return time.Time{}, false
		}
		if start := shows(face, zone); start.After(after) {
			return start, true
		}
	}
}

// clockChange is more than any clock is put back or forward at once.
const clockChange = 3 * time.Hour

// shows returns the first moment at which a clock in the zone shows what face
// shows in UTC, or the moment at which it is put forward beyond it.
func shows(face time.Time, zone *time.Location) time.Time {
	offsetAt := func(unix int64) int64 {
		_, offset := time.Unix(unix, 0).In(zone).Zone()
		return int64(offset)
	}
	const far = 15 * 3600 // seconds; no zone is further from UTC
	u := face.Unix()
	before, after := offsetAt(u-far), offsetAt(u+far)
	for _, offset := range []int64{max(before, after), min(before, after)} { // the earlier moment first
		if offsetAt(u-offset) == offset {
			return time.Unix(u-offset, 0).UTC()
		}
	}
	change, _ := time.Unix(u-before, 0).In(zone).ZoneBounds()
	return change.UTC()
}

// clockText is what a cron field may look like.
type clockText struct{}

func (clockText) kind() string { return "cron" }

func (clockText) allowed() string {
	return `minute, hour, day of month, month and day of week, such as "0 8 * * 1-5"`
}

func (clockText) read(written any) (any, string) {
	return text{limit: 200}.read(written)
}

func (clockText) check(value any) string {
	s := value.(string)
	if len(s) > 200 {
		return fmt.Sprintf("%d characters are too many", len(s))
	}
	if s == "" { // reported as missing
		return ""
	}
	if n := len(strings.Fields(s)); n != 5 {
		return fmt.Sprintf("%s has %d fields, not 5", show(s), n)
	}
	switch first, err := firstOf(s); {
	case err != nil:
		return show(s) + " is not cron: " + err.Error()
	case first.IsZero():
		return show(s) + " never comes: there is no such day or time"
	}
	return ""
}

// firstOf returns the first moment from 2026 on at which five fields of cron
// come, zero if they never do. What it accepts can be asked for every next one:
// the parser lets ranges like 5-1 pass, which hold nothing and on which it
// panics only when it is asked for a moment.
func firstOf(s string) (first time.Time, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a range holds nothing")
		}
	}()
	cron, err := cronexpr.Parse(s)
	if err != nil {
		return time.Time{}, err
	}
	return cron.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), nil
}

func (clockText) plain(value any) any { return value }

var zoneName = text{limit: 64, ok: isZone, want: `a time zone of the IANA database, such as "Europe/Berlin", or "UTC"`}

// isZone refuses "" and "Local": a policy means the same on every machine.
func isZone(s string) bool {
	if s == "" || s == "Local" {
		return false
	}
	_, err := time.LoadLocation(s)
	return err == nil
}

var schedules = &entries{
	most:  20,
	names: func(p *Policy) []string { return namesOf(p.Schedules, scheduleName) },
	add: func(p *Policy, name string) {
		p.Schedules = withEntry(p.Schedules, Schedule{Name: name, Zone: "UTC"}, scheduleName)
	},
	fields: func(prefix, name string) []field {
		at := func(p *Policy) *Schedule { return entryNamed(p.Schedules, name, scheduleName) }
		return []field{
			one(prefix+"cron", clockText{}, "", "when a window begins; the replicas are ready by then; required",
				inEntry(at, func(s *Schedule) *string { return &s.Cron })),
			one(prefix+"zone", zoneName, "", "whose clock cron is about",
				inEntry(at, func(s *Schedule) *string { return &s.Zone })),
			one(prefix+"for", duration{time.Minute, 31 * day, 10 * time.Hour}, "", "how long a window lasts; required",
				inEntry(at, func(s *Schedule) *time.Duration { return &s.For })),
			one(prefix+"min", count{1, 1000}, "replicas", "never fewer during a window; of windows that overlap the largest counts; required",
				inEntry(at, func(s *Schedule) *int { return &s.Min })),
		}
	},
}

func scheduleName(s *Schedule) string { return s.Name }

// inEntry is the place of a value in an entry, nil if the policy has no such entry.
func inEntry[E, T any](entry func(*Policy) *E, at func(*E) *T) func(*Policy) *T {
	return func(p *Policy) *T {
		if e := entry(p); e != nil {
			return at(e)
		}
		return nil
	}
}

func scheduleContradictions(p *Policy) []contradiction {
	var found []contradiction
	for _, s := range p.Schedules {
		path := func(name string) string { return entryPath("schedule", s.Name) + "." + name }
		required := func(name, allowed string) {
			found = append(found, contradiction{fields: []string{path(name)}, message: "is required", allowed: allowed, missing: true})
		}
		if s.Cron == "" {
			required("cron", clockText{}.allowed())
		}
		if s.For == 0 {
			required("for", `how long a window lasts, such as "10h"`)
		}
		if s.Min == 0 {
			required("min", "a number of replicas, at least 1")
		}
		if s.Min > p.Replicas.Max {
			found = append(found, contradiction{fields: []string{path("min"), "replicas.max"},
				message: fmt.Sprintf("%d is above replicas.max", s.Min), allowed: fmt.Sprintf("at most %d", p.Replicas.Max)})
		}
	}
	return found
}
