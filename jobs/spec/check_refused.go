package spec

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// leastRescheduleDelay is the shortest delay of a reschedule block that Nomad takes.
const leastRescheduleDelay = 5 * time.Second

// refused judges values of the right type that Nomad refuses when the job is
// registered, or planned.
func (c *checker) refused(g *jobs.Group, path string) {
	// In the restart block of a task Nomad takes the same.
	if g.Restart.Mode == "delay" && g.Restart.Attempts == 0 {
		c.fail(RuleRefused, path+".restart.mode", g.Line,
			`Nomad refuses restart mode "delay" with attempts = 0: one says for ever, the other never`,
			`a restart block with attempts = 0, mode = "fail"`)
	}
	if r := g.Reschedule; r != nil && r.Delay < leastRescheduleDelay && (r.Unlimited || r.Attempts > 0) {
		at := path + ".reschedule"
		if !c.survey.has(at) && c.survey.has("reschedule") {
			at = "reschedule"
		}
		c.fail(RuleRefused, at+".delay", r.Line,
			fmt.Sprintf("Nomad refuses a reschedule delay of %s: the shortest is %s", r.Delay, leastRescheduleDelay),
			fmt.Sprintf("delay = %q or more", leastRescheduleDelay))
	}
}
