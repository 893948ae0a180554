package spec

import (
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pilotlight/pilotlight/jobs"
)

// Nomad's defaults.
const (
	defaultType        = "service"
	defaultNamespace   = "default"
	defaultKillTimeout = 5 * time.Second
	defaultCount       = 1
	defaultMaxParallel = 1 // of an update block
)

func defaultRestart() jobs.Restart {
	return jobs.Restart{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: "fail"}
}

func defaultReschedule() jobs.Reschedule {
	return jobs.Reschedule{Unlimited: true, Delay: 30 * time.Second, DelayFunction: "exponential"}
}

// inherited is what groups take over from their job.
type inherited struct {
	maxParallel *int
	reschedule  *jobs.Reschedule
}

// readJob reads the job block, its groups and its tasks.
func (e *evaluator) readJob(block *hclsyntax.Block) *jobs.Spec {
	job := e.open(block, "")
	spec := &jobs.Spec{
		ID:        block.Labels[0],
		Namespace: defaultNamespace,
		Type:      defaultType,
		File:      e.file,
		Source:    string(e.src),
		Line:      job.at.Line,
	}
	job.text("id", &spec.ID)
	job.text("namespace", &spec.Namespace)
	job.text("type", &spec.Type)
	job.reportRendered()

	from := inherited{
		maxParallel: job.maxParallel(nil),
		reschedule:  job.reschedule(nil),
	}
	for _, group := range job.blocks("group") {
		spec.Groups = append(spec.Groups, group.group(group.label, from))
	}
	// A task right under the job is a group of its own, with the same name.
	for _, task := range job.blocks("task") {
		name := task.label
		task.path = "group." + name + "." + task.path
		spec.Groups = append(spec.Groups, jobs.Group{
			Name:              name,
			Line:              task.at.Line,
			Count:             -1,
			UpdateMaxParallel: from.maxParallel,
			Reschedule:        from.reschedule,
			Restart:           defaultRestart(),
			Checks:            task.checks(),
			Tasks:             []jobs.Task{task.task(name, defaultRestart())},
		})
	}
	return spec
}

func (s scope) group(name string, from inherited) jobs.Group {
	g := jobs.Group{
		Name:              name,
		Line:              s.at.Line,
		Count:             -1,
		UpdateMaxParallel: s.maxParallel(from.maxParallel),
		Reschedule:        s.reschedule(from.reschedule),
		Restart:           defaultRestart(),
		Checks:            s.checks(),
	}
	s.integer("count", &g.Count)
	s.duration("shutdown_delay", &g.ShutdownDelay)
	s.reportRendered()
	for _, network := range s.blocks("network") {
		for _, port := range network.blocks("port") {
			p := jobs.Port{Label: port.label, Line: port.at.Line}
			port.integer("static", &p.Static)
			g.Ports = append(g.Ports, p)
		}
	}
	if scaling, ok := s.block("scaling"); ok {
		g.Scaling = scaling.scaling(g.Count)
	}
	if restart, ok := s.block("restart"); ok {
		restart.restart(&g.Restart)
	}
	for _, task := range s.blocks("task") {
		g.Tasks = append(g.Tasks, task.task(task.label, g.Restart))
		g.Checks = append(g.Checks, task.checks()...)
	}
	return g
}

// maxParallel returns update.max_parallel of this level over the level above.
func (s scope) maxParallel(above *int) *int {
	update, ok := s.block("update")
	if !ok {
		return above
	}
	n := defaultMaxParallel
	if above != nil {
		n = *above
	}
	update.integer("max_parallel", &n)
	return &n
}

// reschedule returns the reschedule block of this level over the level above.
func (s scope) reschedule(above *jobs.Reschedule) *jobs.Reschedule {
	block, ok := s.block("reschedule")
	if !ok {
		return above
	}
	r := defaultReschedule()
	if above != nil {
		r = *above
	}
	r.Line = block.at.Line
	block.integer("attempts", &r.Attempts)
	block.flag("unlimited", &r.Unlimited)
	block.duration("delay", &r.Delay)
	block.text("delay_function", &r.DelayFunction)
	return &r
}

func (s scope) restart(r *jobs.Restart) {
	s.integer("attempts", &r.Attempts)
	s.duration("interval", &r.Interval)
	s.duration("delay", &r.Delay)
	s.text("mode", &r.Mode)
}

// scaling reads a scaling block; without min it is bound to the group's count.
func (s scope) scaling(count int) *jobs.ScalingBounds {
	bounds := &jobs.ScalingBounds{Min: count, Enabled: true, Line: s.at.Line}
	if count < 0 {
		bounds.Min = defaultCount
	}
	s.integer("min", &bounds.Min)
	s.integer("max", &bounds.Max)
	s.flag("enabled", &bounds.Enabled)
	return bounds
}

// checks reads the checks of all service blocks of this level; a check without
// a port has its service's.
func (s scope) checks() []jobs.Check {
	var found []jobs.Check
	for _, service := range s.blocks("service") {
		var port string
		service.text("port", &port)
		for _, check := range service.blocks("check") {
			c := jobs.Check{Port: port, Line: check.at.Line}
			check.text("type", &c.Type)
			check.text("path", &c.Path)
			check.text("port", &c.Port)
			found = append(found, c)
		}
	}
	return found
}
