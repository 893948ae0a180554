package spec

import (
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/pilotlight/pilotlight/jobs"
)

// task reads one task; restart is its group's.
func (s scope) task(name string, restart jobs.Restart) jobs.Task {
	t := jobs.Task{
		Name:        name,
		Line:        s.at.Line,
		Env:         s.pairs("env"),
		KillTimeout: defaultKillTimeout,
	}
	s.text("driver", &t.Driver)
	s.text("user", &t.User)
	s.flag("leader", &t.Leader)
	s.duration("shutdown_delay", &t.ShutdownDelay)
	s.duration("kill_timeout", &t.KillTimeout)
	s.text("kill_signal", &t.KillSignal)
	s.reportRendered()
	t.Artifacts = len(s.blocks("artifact"))

	if config, ok := s.block("config"); ok {
		config.text("command", &t.Command)
		config.list("args", &t.Args)
	}
	if lifecycle, ok := s.block("lifecycle"); ok {
		lifecycle.text("hook", &t.Lifecycle)
	}
	if block, ok := s.block("restart"); ok {
		own := restart
		block.restart(&own)
		t.Restart = &own
	}
	if resources, ok := s.block("resources"); ok {
		for _, device := range resources.blocks("device") {
			count := 1
			device.integer("count", &count)
			if isGPU(device.label) {
				t.GPUs += count
			}
		}
	}
	return t
}

// isGPU reports whether a device name (TYPE, VENDOR/TYPE or VENDOR/TYPE/MODEL)
// is that of a GPU.
func isGPU(device string) bool {
	return slices.Contains(strings.Split(strings.ToLower(device), "/"), "gpu")
}

// setsEnvironment reports whether a template may set the task's environment:
// files that it writes are nothing that is judged.
func (s scope) setsEnvironment() bool {
	attr := s.body.Attributes["env"]
	if attr == nil {
		return false
	}
	value, err := s.e.evaluate(attr.Expr)
	return err != nil || value.IsNull() || !value.RawEquals(cty.False)
}

// reportRendered reports the blocks whose effect only a running Nomad knows.
func (s scope) reportRendered() {
	for _, block := range s.body.Blocks {
		switch block.Type {
		case "template":
			if !s.e.open(block, s.join("template")).setsEnvironment() {
				continue
			}
			s.e.notJudged(s.join("template"), block.DefRange().Start, "what the template renders, and the environment it may set")
		case "vault":
			s.e.notJudged(s.join("vault"), block.DefRange().Start, "secrets from Vault")
		}
	}
}
