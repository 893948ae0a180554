package spec

import (
	"fmt"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// defaultMaxKillTimeout is the max_kill_timeout of a Nomad client that sets none.
const defaultMaxKillTimeout = 30 * time.Second

// longShutdownDelay is what a stop may wait before it does anything: the GPU of
// every replica that is scaled down is paid for that long.
const longShutdownDelay = time.Minute

// Clients is what is known of the Nomad clients that run a job.
type Clients struct {
	// MaxKillTimeout is their max_kill_timeout; 0: not known, taken for Nomad's
	// default, and what is above it is a warning only.
	MaxKillTimeout time.Duration
}

// stopping judges how the tasks of a group end when Nomad stops them.
func (c *checker) stopping(g *jobs.Group, path string) {
	c.leader(g, path)
	for i := range g.Tasks {
		t := &g.Tasks[i]
		at := path + ".task." + t.Name
		c.killSignal(t, at)
		c.killTimeout(t, at)
	}
}

// leader: with several tasks and no leader Nomad signals all at once, and the
// proxy or exporter beside the model is gone while the model finishes.
func (c *checker) leader(g *jobs.Group, path string) {
	var serving []string
	for _, t := range g.Tasks {
		if t.Leader {
			return
		}
		if t.Lifecycle == "" {
			serving = append(serving, t.Name)
		}
	}
	if len(serving) < 2 {
		return
	}
	c.warn(RuleLeader, path+".task."+serving[0]+".leader", g.Line,
		fmt.Sprintf("tasks %s, none of which is the leader: Nomad ends them all at once, also those that the serving one needs to finish its requests; Pilotlight takes %q for the one that serves",
			strings.Join(serving, ", "), serving[0]),
		"leader = true in the task that serves, or a lifecycle block in the others")
}

func (c *checker) killSignal(t *jobs.Task, path string) {
	switch name := strings.TrimPrefix(strings.ToUpper(t.KillSignal), "SIG"); name {
	case "KILL", "STOP":
		c.fail(RuleKillSignal, path+".kill_signal", t.Line,
			fmt.Sprintf("kill_signal SIG%s cannot be caught: whatever the task is doing is cut, and kill_timeout means nothing", name),
			`a signal at which the engine finishes its requests: kill_signal = "SIGTERM"`)
	}
}

// killTimeout: a client cuts a kill_timeout to its own limit, silently.
func (c *checker) killTimeout(t *jobs.Task, path string) {
	limit, known := c.clients.MaxKillTimeout, true
	if limit <= 0 {
		limit, known = defaultMaxKillTimeout, false
	}
	if t.KillTimeout <= limit {
		return
	}
	at := path + ".kill_timeout"
	allowed := fmt.Sprintf(`client { max_kill_timeout = "%s" } or more on every node that runs the job`, t.KillTimeout)
	if known {
		c.fail(RuleKillTimeout, at, t.Line,
			fmt.Sprintf("a kill_timeout of %s is cut to the Nomad clients' max_kill_timeout of %s", t.KillTimeout, limit), allowed)
		return
	}
	c.warn(RuleKillTimeout, at, t.Line,
		fmt.Sprintf("a kill_timeout of %s is cut to the Nomad client's max_kill_timeout, which is %s unless its configuration says more",
			t.KillTimeout, limit),
		allowed+"; then tell this check with --max-kill-timeout")
}

// shutdownDelay: a delay is for whoever asks Nomad's service registry where to
// send requests. Pilotlight does not: it drains first.
func (c *checker) shutdownDelay(g *jobs.Group, path string) {
	at, whole := path+".shutdown_delay", g.ShutdownDelay
	if t := g.Main(); t != nil {
		whole += t.ShutdownDelay
		if t.ShutdownDelay > g.ShutdownDelay {
			at = path + ".task." + t.Name + ".shutdown_delay"
		}
	}
	if whole > longShutdownDelay {
		c.warn(RuleShutdownDelay, at, g.Line,
			fmt.Sprintf("every replica that is scaled down keeps its GPU for %s after its drain, before it is even told to end", whole),
			fmt.Sprintf("shutdown_delay of at most %s, and kill_timeout for what requests need", longShutdownDelay))
	}
}
