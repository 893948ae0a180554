package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// How long a minimum lasts is kept between looks, and depends on every schedule.
func TestHowLongAMinimumLastsIsWorkedOutAnewWhenAnyScheduleChanges(t *testing.T) {
	p := plain(0, 4, 8)
	day := policies.Schedule{Name: "day", Cron: "0 8 * * *", Zone: "UTC", For: 10 * time.Hour, Min: 2}
	late := policies.Schedule{Name: "late", Cron: "0 12 * * *", Zone: "UTC", For: 12 * time.Hour, Min: 3}
	w := newWorld(t, p)
	for _, step := range []struct {
		what      string
		schedules []policies.Schedule
		want      string
	}{
		{"alone", []policies.Schedule{day}, `schedule "day": at least 2 until Jan 5 18:00 UTC`},
		{"with another", []policies.Schedule{day, late}, `schedule "day", then "late": at least 2 until Jan 6 00:00 UTC`},
		{"with a shorter one", []policies.Schedule{day, with(late, func(s *policies.Schedule) { s.For = 8 * time.Hour })},
			`schedule "day", then "late": at least 2 until Jan 5 20:00 UTC`},
		{"with a smaller one", []policies.Schedule{day, with(late, func(s *policies.Schedule) { s.Min = 1 })},
			`schedule "day": at least 2 until Jan 5 18:00 UTC`},
		{"with one of another name", []policies.Schedule{with(late, func(s *policies.Schedule) { s.Name = "evening" }), day},
			`schedule "day", then "evening": at least 2 until Jan 6 00:00 UTC`},
		{"with one that begins at its end", []policies.Schedule{day, with(late, func(s *policies.Schedule) { s.Cron = "0 18 * * *" })},
			`schedule "day", then "late": at least 2 until Jan 6 06:00 UTC`},
		{"with one after a gap", []policies.Schedule{day, with(late, func(s *policies.Schedule) { s.Cron = "0 19 * * *" })},
			`schedule "day": at least 2 until Jan 5 18:00 UTC`},
		{"alone again", []policies.Schedule{day}, `schedule "day": at least 2 until Jan 5 18:00 UTC`},
	} {
		w.p.Schedules = step.schedules
		w.now = w.now.Add(time.Second)
		if d := w.look(); d.To != 2 || d.Reason != step.want {
			t.Errorf("%s: to %d, %q; want 2, %q", step.what, d.To, d.Reason, step.want)
		}
	}
}

func with(s policies.Schedule, change func(*policies.Schedule)) policies.Schedule {
	change(&s)
	return s
}

// Only the end of a window that held the count back is a reason of a step down.
func TestAStepDownThatWaitedForNoScheduleNamesNone(t *testing.T) {
	for name, tc := range map[string]struct {
		before, after time.Duration // of the look before and of the one that steps down, from the end of the window
		want          bool
	}{
		"at its end":                          {-time.Second, 0, true},
		"later, since nobody looked":          {-time.Minute, time.Hour, true},
		"after a look that has seen the end":  {time.Second, 2 * time.Second, false},
		"where the look before was before it": {-2 * time.Hour, 0, false},
	} {
		p := plain(0, 4, 8)
		p.Schedules = []policies.Schedule{{Name: "hour", Cron: "0 9 * * *", Zone: "UTC", For: time.Hour, Min: 2}}
		end := epoch.Add(2 * time.Hour)
		mem := Memory{Since: epoch.Add(-time.Hour), Wanted: 2}
		_, mem = Decide(end.Add(tc.before), p, 1, Snapshot{Known: true}, mem)
		mem.Wanted = 2 // whatever that look has made of it
		d, _ := Decide(end.Add(tc.after), p, 1, Snapshot{Known: true}, mem)
		if said := strings.HasPrefix(d.Reason, `schedule "hour" ended at Jan 5 10:00 UTC; `); d.To != 0 || said != tc.want {
			t.Errorf("%s: to %d, %q; want the end of the schedule named: %v", name, d.To, d.Reason, tc.want)
		}
	}
}
