package spec

import (
	"fmt"
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
	defaultDiskMB      = 300
	defaultGrace       = time.Second // of a check_restart block
)

// What a job's meta may say to Pilotlight.
const (
	metaKey      = "pilotlight"
	metaUnscaled = "not-scaled"
)

func defaultRestart() jobs.Restart {
	return jobs.Restart{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: "fail"}
}

func defaultReschedule() jobs.Reschedule {
	return jobs.Reschedule{Unlimited: true, Delay: 30 * time.Second, DelayFunction: "exponential"}
}

func defaultMigrate() jobs.Migrate {
	return jobs.Migrate{MaxParallel: 1, HealthyDeadline: 5 * time.Minute}
}

// inherited is what groups take over from their job.
type inherited struct {
	maxParallel *int
	reschedule  *jobs.Reschedule
	migrate     jobs.Migrate
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
		Variables: e.given.text(),
		Line:      job.at.Line,
	}
	job.text("id", &spec.ID)
	job.text("namespace", &spec.Namespace)
	job.text("type", &spec.Type)
	job.reportRendered()
	spec.Unscaled = job.unscaled()

	from := inherited{
		maxParallel: job.maxParallel(nil),
		reschedule:  job.reschedule(nil),
		migrate:     job.migrate(defaultMigrate()),
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
			Migrate:           from.migrate,
			EphemeralDisk:     jobs.EphemeralDisk{SizeMB: defaultDiskMB},
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
		Migrate:           s.migrate(from.migrate),
		Disconnect:        s.disconnect(),
		EphemeralDisk:     s.ephemeralDisk(),
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

// migrate returns the migrate block of this level over the level above.
func (s scope) migrate(above jobs.Migrate) jobs.Migrate {
	block, ok := s.block("migrate")
	if !ok {
		return above
	}
	m := above
	m.Line = block.at.Line
	block.integer("max_parallel", &m.MaxParallel)
	block.duration("healthy_deadline", &m.HealthyDeadline)
	return m
}

// disconnect reads the disconnect block, or the two attributes that Nomad had
// before it and still takes.
func (s scope) disconnect() *jobs.Disconnect {
	if block, ok := s.block("disconnect"); ok {
		d := jobs.Disconnect{Replace: true, Line: block.at.Line}
		block.duration("lost_after", &d.LostAfter)
		block.flag("replace", &d.Replace)
		return &d
	}
	d := jobs.Disconnect{Replace: true, Line: s.at.Line}
	var prevented bool
	old := s.duration("max_client_disconnect", &d.LostAfter)
	old = s.flag("prevent_reschedule_on_lost", &prevented) || old
	if !old {
		return nil
	}
	d.Replace = !prevented
	return &d
}

func (s scope) ephemeralDisk() jobs.EphemeralDisk {
	disk := jobs.EphemeralDisk{SizeMB: defaultDiskMB}
	if block, ok := s.block("ephemeral_disk"); ok {
		disk.Line = block.at.Line
		block.integer("size", &disk.SizeMB)
		block.flag("migrate", &disk.Migrate)
	}
	return disk
}

func (s scope) checkRestart() *jobs.CheckRestart {
	block, ok := s.block("check_restart")
	if !ok {
		return nil
	}
	r := &jobs.CheckRestart{Grace: defaultGrace, Line: block.at.Line}
	block.integer("limit", &r.Limit)
	block.duration("grace", &r.Grace)
	return r
}

// unscaled reports whether the job's meta takes it out of Pilotlight's hands.
func (s scope) unscaled() bool {
	said, ok := s.pairs("meta")[metaKey]
	if ok && said != metaUnscaled {
		s.e.badValue(s.join("meta", metaKey), s.at, fmt.Sprintf("meta.%s is %q", metaKey, said),
			fmt.Sprintf("%q, or no such entry for a job that Pilotlight scales", metaUnscaled))
	}
	return said == metaUnscaled
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
			if c.Restart = check.checkRestart(); c.Restart == nil {
				c.Restart = service.checkRestart()
			}
			found = append(found, c)
		}
	}
	return found
}
