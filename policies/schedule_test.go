package policies

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScheduleBeginsByTheClockOfItsZone(t *testing.T) {
	for _, test := range []struct{ name, cron, zone, after, want string }{
		{"an ordinary day", "0 8 * * 1-5", "Asia/Shanghai", "2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"},
		{"strictly after", "0 8 * * *", "UTC", "2026-01-05T08:00:00Z", "2026-01-06T08:00:00Z"},
		{"within the second before", "0 8 * * *", "UTC", "2026-01-05T07:59:59.5Z", "2026-01-05T08:00:00Z"},
		{"winter in Berlin", "0 8 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-28T07:00:00Z"},
		{"summer in Berlin", "0 8 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T06:00:00Z"},
		// 2026-03-29: 02:00 → 03:00.
		{"a time that the clock does not show", "30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"and the next day", "30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		// 2026-10-25: 03:00 → 02:00.
		{"a time that the clock shows twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"counts once", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"west of Greenwich", "30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z"},
		{"put forward at midnight", "0 0 * * *", "America/Havana", "2026-03-07T12:00:00Z", "2026-03-08T05:00:00Z"},
		{"half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z"},
		{"the 29th of February", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			after, _ := time.Parse(time.RFC3339Nano, test.after)
			got, ok := Schedule{Cron: test.cron, Zone: test.zone}.Next(after)
			if want, _ := time.Parse(time.RFC3339, test.want); !ok || !got.Equal(want) {
				t.Errorf("after %s: %s, want %s", test.after, got.Format(time.RFC3339), test.want)
			}
		})
	}
	if at, ok := (Schedule{Cron: "0 0 31 2 *"}).Next(time.Unix(0, 0)); ok {
		t.Errorf("the 31st of February is %s", at)
	}
}

// From whatever moment the next start is asked for, it is the same one.
func TestTheNextStartDoesNotDependOnWhenItIsAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{
			Cron: rapid.SampledFrom([]string{"30 2 * * *", "0 * * * *", "0 8 * * 1-5", "*/7 1-3 * * *", "59 23 L * *"}).Draw(t, "cron"),
			Zone: rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana"}).Draw(t, "zone"),
		}
		at := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "after"), 0)
		if rapid.Bool().Draw(t, "around a change") {
			at = time.Date(2026, time.Month(rapid.SampledFrom([]int{3, 10, 11, 4}).Draw(t, "month")), rapid.SampledFrom([]int{1, 8, 25, 29, 4, 5}).Draw(t, "day"), 0, 0, rapid.IntRange(0, 86400).Draw(t, "s"), 0, time.UTC)
		}
		next, ok := s.Next(at)
		if !ok || !next.After(at) {
			t.Fatalf("%v after %s: %s", s, at, next)
		}
		between := at.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(at))-1).Draw(t, "between")))
		if again, _ := s.Next(between); !again.Equal(next) {
			t.Fatalf("%v: after %s %s, after %s %s", s, at, next, between, again)
		}
	})
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"0 8 * * 1-5", "*/5 0-23/2 1,15 JAN-JUN ?", "0 0 29 2 *", "0 0 L * *", "0 0 15W * *", "0 0 * * 5#3", "60 * * * *", "*/0 * * * *", "5-1 * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cron string) {
		if (clockText{}).check(cron) != "" || cron == "" {
			return
		}
		at := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
		if next, ok := (Schedule{Cron: cron, Zone: "Europe/Berlin"}).Next(at); !ok || !next.After(at) {
			t.Errorf("%q is accepted, and next begins at %s", cron, next)
		}
	})
}
