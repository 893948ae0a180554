package localfleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestRestartsInPlaceAreCountedWithinTheirInterval(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		policy jobs.Restart
		ends   []time.Duration // since the first end
		want   []string        // delay, or "fails"
	}{
		"none allowed": {
			jobs.Restart{Attempts: 0, Interval: 60 * s, Delay: 5 * s, Mode: "fail"},
			[]time.Duration{0}, []string{"fails"},
		},
		"none allowed, whatever the mode": {
			jobs.Restart{Attempts: 0, Interval: 60 * s, Delay: 5 * s, Mode: "delay"},
			[]time.Duration{0}, []string{"fails"},
		},
		"the third end within the interval fails": {
			jobs.Restart{Attempts: 2, Interval: 60 * s, Delay: 5 * s, Mode: "fail"},
			[]time.Duration{0, 30 * s, 60 * s}, []string{"5s", "5s", "fails"},
		},
		"a new interval counts anew": {
			jobs.Restart{Attempts: 2, Interval: 60 * s, Delay: 5 * s, Mode: "fail"},
			[]time.Duration{0, 30 * s, 61 * s, 62 * s, 63 * s}, []string{"5s", "5s", "5s", "5s", "fails"},
		},
		"mode delay waits for the interval to end": {
			jobs.Restart{Attempts: 1, Interval: 60 * s, Delay: 5 * s, Mode: "delay"},
			[]time.Duration{0, 10 * s, 61 * s}, []string{"5s", "50s", "5s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := restarts{policy: c.policy}
			start := time.Unix(1_800_000_000, 0)
			var got []string
			for _, end := range c.ends {
				delay, again := r.next(start.Add(end))
				if !again {
					got = append(got, "fails")
					continue
				}
				got = append(got, delay.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReplacementsWaitAsTheRescheduleBlockSays(t *testing.T) {
	policy := func(function string) *jobs.Reschedule {
		return &jobs.Reschedule{Unlimited: true, Delay: 10 * time.Second, DelayFunction: function}
	}
	limited := policy("constant")
	limited.Unlimited, limited.Attempts = false, 2
	for name, c := range map[string]struct {
		policy *jobs.Reschedule
		want   []string // for the attempts 0, 1, …
	}{
		"no block":    {nil, []string{"30s", "1m0s", "2m0s", "4m0s", "8m0s", "16m0s", "32m0s", "1h0m0s", "1h0m0s"}},
		"constant":    {policy("constant"), []string{"10s", "10s", "10s"}},
		"exponential": {policy("exponential"), []string{"10s", "20s", "40s", "1m20s"}},
		"fibonacci":   {policy("fibonacci"), []string{"10s", "10s", "20s", "30s", "50s"}},
		"limited":     {limited, []string{"10s", "10s", "never"}},
		"off":         {&jobs.Reschedule{}, []string{"never"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for attempts := range c.want {
				delay, again := rescheduleDelay(c.policy, attempts)
				if !again {
					got = append(got, "never")
					continue
				}
				got = append(got, fmt.Sprint(delay))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
