package stub

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// utilization is the script of --gpu-util: from each step's time on, counted
// from the start of the server, its value holds. Before the first step, and
// without any, utilization follows the load.
type utilization []utilizationStep

type utilizationStep struct {
	from    time.Duration
	percent float64
}

// parseUtilization reads "auto", "85" or "90@30s,20@60s".
func parseUtilization(script string) (utilization, error) {
	if script == "" || script == "auto" {
		return nil, nil
	}
	var steps utilization
	for part := range strings.SplitSeq(script, ",") {
		value, at, scripted := strings.Cut(strings.TrimSpace(part), "@")
		step := utilizationStep{}
		var err error
		if step.percent, err = strconv.ParseFloat(value, 64); err != nil || !(step.percent >= 0 && step.percent <= 100) {
			return nil, fmt.Errorf("%q is no utilization, allowed: auto, 0 to 100, or a script such as 90@30s,20@60s", value)
		}
		if scripted {
			if step.from, err = time.ParseDuration(at); err != nil || step.from < 0 {
				return nil, fmt.Errorf("%q is no time after the start, allowed: durations such as 30s", at)
			}
		}
		if n := len(steps); n > 0 && (!scripted || step.from <= steps[n-1].from) {
			return nil, fmt.Errorf("%q does not come after %s: the times of a script must rise", part, steps[n-1].from)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// at returns the utilization in percent when the server has been up that long
// and computes running of at most concurrency requests.
func (u utilization) at(up time.Duration, running, concurrency int) float64 {
	percent := 100 * float64(running) / float64(concurrency)
	for _, step := range u {
		if up < step.from {
			break
		}
		percent = step.percent
	}
	return percent
}
