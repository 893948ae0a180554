package policies

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// Rules of the findings on how replicas start and end.
const (
	ruleKillTimeout   = "kill-timeout"
	ruleShutdownDelay = "shutdown-delay"
	ruleCheckRestart  = "check-restart"
	ruleMigrate       = "migrate"
)

// noticed is how long Pilotlight may take to learn of a stop that it did not ask
// for, and to send the replica nothing more: 10 ms from the event stream as a
// rule, up to a second where that had to be opened anew.
const noticed = time.Second

// killTimeout: a task that Nomad stops has time to finish what it computes.
// Pilotlight drains before it scales down, but it cannot drain before
// `nomad job run`, a node drain or an operator's stop. The task computes on
// through shutdown_delay too. What a Nomad client grants is for spec.Check.
func (f *fit) killTimeout(g *jobs.Group) {
	t := g.Main()
	if t == nil {
		return // the spec's own fault: no-main-task
	}
	p := f.policy
	needed, name := p.Request.Timeout, "request.timeout"
	if p.ScaleDown.DrainTimeout < needed {
		needed, name = p.ScaleDown.DrainTimeout, "scale_down.drain_timeout"
	}
	delay := g.ShutdownDelay + t.ShutdownDelay
	if t.KillTimeout+delay >= needed {
		return
	}
	has := fmt.Sprintf("kill_timeout is %s,", t.KillTimeout)
	if delay > 0 {
		has = fmt.Sprintf("shutdown_delay and kill_timeout are %s and %s, together", delay, t.KillTimeout)
	}
	f.fail(ruleKillTimeout, "group."+g.Name+".task."+t.Name+".kill_timeout", t.Line,
		fmt.Sprintf("%s shorter than %s = %s: when Nomad stops the task by itself (a deploy, a node drain), requests in flight are cut",
			has, name, needed),
		fmt.Sprintf("kill_timeout ≥ %s, or a shorter %s", needed-delay, name))
}

// shutdownDelay: between the stop and Pilotlight's learning of it, a replica is
// sent requests. Signalled at once, it may cut them; who may not repeat them
// answers 502.
func (f *fit) shutdownDelay(g *jobs.Group) {
	t := g.Main()
	if t == nil || f.policy.repeats() {
		return
	}
	if delay := g.ShutdownDelay + t.ShutdownDelay; delay < noticed {
		f.warn(ruleShutdownDelay, "group."+g.Name+".shutdown_delay", g.Line,
			fmt.Sprintf("shutdown_delay is %s: when Nomad stops a replica by itself, Pilotlight learns of it up to %s later; requests sent meanwhile may be cut, and retry.repeat does not let all of them be sent again",
				delay, noticed),
			fmt.Sprintf(`shutdown_delay = "2s", at least %s`, noticed))
	}
}

// repeats reports whether every request that the policy routes may be sent again.
func (p *Policy) repeats() bool {
	if p.Retry.Repeat != "" {
		return p.Retry.Repeat == "always"
	}
	for _, prefix := range p.Route.PathPrefixes {
		if !under(prefix, "/translate") && !under(prefix, "/v1") {
			return false
		}
	}
	return len(p.Route.Hosts) == 0
}

// loading: nothing of Nomad's gives a model less time to load than the policy.
func (f *fit) loading(g *jobs.Group) {
	p, path := f.policy, "group."+g.Name
	for _, check := range g.Checks {
		if r := check.Restart; r != nil && r.Limit > 0 && r.Grace < p.Probe.Max {
			f.warn(ruleCheckRestart, path+".service.check.check_restart.grace", r.Line,
				fmt.Sprintf("Nomad restarts the task when its check has failed %d times after %s, but probe.max lets a model load for %s: one that loads slowly never becomes ready",
					r.Limit, r.Grace, p.Probe.Max),
				fmt.Sprintf("no check_restart block, or grace ≥ %s", p.Probe.Max))
		}
	}
	if p.Replicas.Max > 1 && gpus(g) > 0 && g.Migrate.HealthyDeadline < p.Probe.Max {
		f.warn(ruleMigrate, path+".migrate.healthy_deadline", max(g.Migrate.Line, g.Line),
			fmt.Sprintf("migrate.healthy_deadline is %s: a node drain stops the next replica after that, though the replacement of the last one may load for %s (probe.max); all of them may be loading at once",
				g.Migrate.HealthyDeadline, p.Probe.Max),
			fmt.Sprintf(`migrate { healthy_deadline = "%s" } or more`, p.Probe.Max))
	}
}

func gpus(g *jobs.Group) int {
	sum := 0
	for _, t := range g.Tasks {
		sum += t.GPUs
	}
	return sum
}
