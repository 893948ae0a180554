package spec

import (
	"fmt"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// portLabel is the label of the port that replicas are probed and reached at.
const portLabel = "http"

// hiddenFailure is how long Nomad may restart a task in place before the
// failure is seen; above it the launch brake learns too late.
const hiddenFailure = time.Minute

// slowReplacement is how long a failed allocation may wait for its successor.
const slowReplacement = 30 * time.Second

// Check judges a job spec by what Pilotlight asks of every job that it scales.
// group names the group to be scaled; "" is the only one or, of several, each
// that has a port "http". Of a job that says itself that it is not to be scaled
// only how its tasks end is judged, and what Nomad refuses. Findings are in the order of the file.
func Check(s *jobs.Spec, group string, clients Clients) []jobs.Finding {
	if s == nil {
		return nil
	}
	c := &checker{spec: s, clients: clients, survey: surveyOf(s)}
	if s.Unscaled {
		for i := range s.Groups {
			path := "group." + s.Groups[i].Name
			c.refused(&s.Groups[i], path)
			c.stopping(&s.Groups[i], path)
		}
		return c.survey.refine(c.findings)
	}
	c.jobType()
	for _, g := range c.groups(group) {
		c.group(g)
	}
	return c.survey.refine(c.findings)
}

type checker struct {
	spec     *jobs.Spec
	clients  Clients
	survey   survey
	findings []jobs.Finding
}

func (c *checker) fail(rule, path string, line int, message, allowed string) {
	c.add(jobs.SeverityError, rule, path, line, message, allowed)
}

func (c *checker) warn(rule, path string, line int, message, allowed string) {
	c.add(jobs.SeverityWarning, rule, path, line, message, allowed)
}

func (c *checker) add(severity, rule, path string, line int, message, allowed string) {
	c.findings = append(c.findings, jobs.Finding{
		File: c.spec.File, Line: max(line, 1), Column: 1,
		Severity: severity, Rule: rule, Path: path, Message: message, Allowed: allowed,
	})
}

func (c *checker) jobType() {
	if c.spec.Type != defaultType {
		c.fail(RuleJobType, "type", c.spec.Line,
			fmt.Sprintf("a %s job cannot be kept at zero and woken: Nomad forgets it, or will not scale it", c.spec.Type),
			`type = "service"`)
	}
	for _, kind := range []string{"periodic", "parameterized"} {
		if c.survey.has(kind) {
			c.fail(RuleJobType, kind, c.spec.Line,
				fmt.Sprintf("Nomad accepts a scale of a %s job and starts nothing", kind),
				fmt.Sprintf("a service job without a %s block", kind))
		}
	}
}

// groups returns the groups to judge.
func (c *checker) groups(name string) []*jobs.Group {
	s := c.spec
	if g := s.GroupNamed(name); g != nil {
		return []*jobs.Group{g}
	}
	names := make([]string, len(s.Groups))
	for i, g := range s.Groups {
		names[i] = g.Name
	}
	allowed := strings.Join(names, ", ")
	if name != "" {
		c.fail(RuleUnknownGroup, "group."+name, s.Line,
			fmt.Sprintf("job %q has no group %q", s.ID, name), allowed)
		return nil
	}
	if len(s.Groups) == 0 {
		c.fail(RuleUnknownGroup, "group", s.Line,
			fmt.Sprintf("job %q has no group", s.ID), "one group that serves the model")
		return nil
	}
	c.warn(RuleUnknownGroup, "group", s.Line,
		fmt.Sprintf("job %q has %d groups; a policy for it must name one", s.ID, len(s.Groups)), allowed)
	var serving []*jobs.Group
	for i := range s.Groups {
		if port(&s.Groups[i]) != nil {
			serving = append(serving, &s.Groups[i])
		}
	}
	if len(serving) == 0 {
		c.fail(RuleNoPort, "group", s.Line,
			fmt.Sprintf("no group of job %q has a port %q", s.ID, portLabel), wantedPort)
	}
	return serving
}

const wantedPort = `network { port "http" {} } in the group`

func port(g *jobs.Group) *jobs.Port {
	for i := range g.Ports {
		if g.Ports[i].Label == portLabel {
			return &g.Ports[i]
		}
	}
	return nil
}

func (c *checker) group(g *jobs.Group) {
	path := "group." + g.Name
	c.refused(g, path)
	c.ports(g, path)
	c.count(g, path)
	c.update(g, path)
	c.reschedule(g, path)
	c.scaling(g, path)
	c.disconnect(g, path)
	c.mainTask(g, path)
	c.checks(g, path)
	c.stopping(g, path)
	c.shutdownDelay(g, path)
	c.ephemeralDisk(g, path)
}

func (c *checker) ports(g *jobs.Group, path string) {
	if port(g) == nil {
		c.fail(RuleNoPort, path+".network.port."+portLabel, g.Line,
			fmt.Sprintf("group %q has no port %q: Pilotlight would not know where its replicas listen", g.Name, portLabel),
			wantedPort)
	}
	for _, p := range g.Ports {
		if p.Static != 0 {
			c.fail(RuleStaticPort, path+".network.port."+p.Label+".static", p.Line,
				fmt.Sprintf("static port %d: two replicas on one node cannot share it, and a stopping one blocks the next", p.Static),
				fmt.Sprintf(`a dynamic port: port %q {}, read by the task as ${NOMAD_PORT_%s}`, p.Label, p.Label))
		}
	}
}

func (c *checker) count(g *jobs.Group, path string) {
	const why = "every `nomad job run` of the file starts that many at once, asked for or not; the count is Pilotlight's"
	at, allowed := path+".count", "count = 0, or `nomad job run -preserve-counts`"
	switch {
	case g.Count > 0:
		c.warn(RuleCount, at, g.Line, fmt.Sprintf("count = %d: %s", g.Count, why), allowed)
	case g.Count < 0 && g.Scaling == nil:
		c.warn(RuleCount, at, g.Line, fmt.Sprintf("no count, which is %d to Nomad: %s", defaultCount, why), allowed)
	}
}

func (c *checker) update(g *jobs.Group, path string) {
	const allowed = "update { max_parallel = 0 } in the group or the job"
	const why = "every scale that leaves a replica opens a deployment, and Nomad refuses the next scale (400) until it ends, " +
		"11.5 s with Nomad's defaults; a burst would wait that long for its second replica"
	at := path + ".update.max_parallel"
	if !c.survey.has(path+".update.max_parallel") && c.survey.has("update.max_parallel") {
		at = "update.max_parallel"
	}
	switch {
	case g.UpdateMaxParallel == nil:
		c.fail(RuleUpdateBlock, at, g.Line, "no update block, so that "+why, allowed)
	case *g.UpdateMaxParallel != 0:
		c.fail(RuleUpdateBlock, at, g.Line,
			fmt.Sprintf("update.max_parallel is %d, so that %s", *g.UpdateMaxParallel, why), allowed)
	}
}

func (c *checker) reschedule(g *jobs.Group, path string) {
	const allowed = `a reschedule block with unlimited = true, delay = "5s", delay_function = "constant"`
	at := path + ".reschedule"
	if !c.survey.has(at) && c.survey.has("reschedule") {
		at = "reschedule"
	}
	r := g.Reschedule
	switch {
	case r == nil:
		c.warn(RuleReschedule, at, g.Line,
			"no reschedule block: Nomad replaces a failed allocation after 30 s, then 1 min, 2 min and so on up to 1 h, and holds its place meanwhile", allowed)
	case !r.Unlimited:
		c.fail(RuleReschedule, at+".unlimited", r.Line,
			fmt.Sprintf("rescheduling ends after %d attempts: the failed allocation then keeps its index for ever, and no scale to the same count replaces it", r.Attempts), allowed)
	case r.DelayFunction != "constant":
		c.warn(RuleReschedule, at+".delay_function", r.Line,
			fmt.Sprintf("delay_function %q: each replacement of a failed allocation waits longer, up to 1 h; Pilotlight's launch brake does the waiting", r.DelayFunction), allowed)
	case r.Delay > slowReplacement:
		c.warn(RuleReschedule, at+".delay", r.Line,
			fmt.Sprintf("a failed allocation is replaced only after %s; Pilotlight's launch brake does the waiting", r.Delay), allowed)
	}
}

func (c *checker) scaling(g *jobs.Group, path string) {
	b := g.Scaling
	if b == nil {
		return
	}
	at := path + ".scaling"
	if b.Min > 0 {
		c.fail(RuleScalingBlock, at+".min", b.Line,
			fmt.Sprintf("scaling.min is %d: Nomad refuses to scale the group to zero (400), even with enabled = false", b.Min),
			"no scaling block, or min = 0 with a generous max")
		return
	}
	c.warn(RuleScalingBlock, at, b.Line,
		fmt.Sprintf("a scaling block: Nomad refuses every count above its max of %d, and a Nomad Autoscaler would fight over the count", b.Max),
		"no scaling block; the policy's replicas { min, max } bound the count")
}

func (c *checker) mainTask(g *jobs.Group, path string) {
	t := g.Main()
	if t == nil {
		c.fail(RuleNoMainTask, path+".task", g.Line,
			fmt.Sprintf("group %q has no task that serves: every task has a lifecycle hook, or there is none", g.Name),
			"one task without a lifecycle block")
		return
	}
	at, r := path+".restart", g.Restart
	if t.Restart != nil {
		at, r = path+".task."+t.Name+".restart", *t.Restart
	}
	const allowed = `a restart block with attempts = 0, mode = "fail"`
	if r.Attempts <= 0 {
		return
	}
	switch hidden := time.Duration(r.Attempts) * r.Delay; {
	case r.Mode == "delay":
		c.warn(RuleRestartHidesFailure, at+".mode", g.Line,
			`restart mode "delay" restarts a broken model for ever: its allocation never fails, callers wait for probe.max, and the launch brake sees nothing`, allowed)
	case hidden > hiddenFailure:
		c.warn(RuleRestartHidesFailure, at, g.Line,
			fmt.Sprintf("%d restarts with a delay of %s hide a broken model for %s before its allocation fails", r.Attempts, r.Delay, hidden), allowed)
	}
}

func (c *checker) checks(g *jobs.Group, path string) {
	for _, check := range g.Checks {
		if check.Type == "http" && check.Path != "" && (check.Port == "" || check.Port == portLabel) {
			return // policies.ProbePath takes it
		}
	}
	c.warn(RuleNoCheck, path+".service.check", g.Line,
		fmt.Sprintf("group %q has no HTTP check on port %q: replicas are probed at /health unless the policy names a probe.path", g.Name, portLabel),
		fmt.Sprintf(`a service on port %q with a check { type = "http" } that has a path, or probe { path } in the policy`, portLabel))
}
