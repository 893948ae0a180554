package policies

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// fitting are a policy and a spec that raise no finding together.
func fitting() (*Policy, *jobs.Spec) {
	p := &Policy{
		Name: "translate", Job: "m", Namespace: "default",
		Replicas:  Replicas{Max: 2},
		Request:   Request{Timeout: 10 * time.Minute},
		ScaleDown: Thresholds{DrainTimeout: 20 * time.Second},
		GPU:       GPU{Source: "nomad"},
	}
	s := &jobs.Spec{
		ID: "m", Namespace: "default", Type: "service", File: "m.nomad.hcl", Line: 3,
		Groups: []jobs.Group{{
			Name: "server", Line: 5,
			Checks: []jobs.Check{
				{Type: "tcp", Port: "http"},
				{Type: "http", Path: "/metrics", Port: "metrics"},
				{Type: "http", Path: "/ready", Port: "http"},
				{Type: "http", Path: "/later", Port: "http"},
			},
			Tasks: []jobs.Task{
				{Name: "fetch", Line: 8, Lifecycle: "prestart"},
				{Name: "model", Line: 12, KillTimeout: 20 * time.Second},
			},
		}},
	}
	return p, s
}

// verdict is what TestFit compares of a finding.
type verdict struct {
	Line                 int
	Severity, Rule, Path string
}

func TestFit(t *testing.T) {
	const (
		task        = "group.server.task.model"
		killTimeout = task + ".kill_timeout"
		device      = task + ".resources.device"
	)
	failure := func(line int, rule, path string) verdict {
		return verdict{line, jobs.SeverityError, rule, path}
	}
	warning := func(line int, rule, path string) verdict {
		return verdict{line, jobs.SeverityWarning, rule, path}
	}
	percent := 80.0
	for _, c := range []struct {
		name   string
		change func(p *Policy, s *jobs.Spec)
		want   []verdict
		says   string
	}{
		{"what fits raises nothing", func(*Policy, *jobs.Spec) {}, nil, ""},

		{"another job", func(p *Policy, _ *jobs.Spec) { p.Job = "n" }, []verdict{failure(3, "job-id", "")}, `job = "n"`},
		{"another namespace", func(p *Policy, _ *jobs.Spec) { p.Namespace = "gpu" },
			[]verdict{failure(3, "namespace", "namespace")}, `namespace "gpu"`},

		{"the only group named", func(p *Policy, _ *jobs.Spec) { p.Group = "server" }, nil, ""},
		{"an unknown group", func(p *Policy, _ *jobs.Spec) { p.Group = "web" },
			[]verdict{failure(3, "unknown-group", "group.web")}, `no group "web"`},
		{"an ambiguous group", func(_ *Policy, s *jobs.Spec) { s.Groups = append(s.Groups, jobs.Group{Name: "b"}) },
			[]verdict{failure(3, "unknown-group", "group")}, "2 groups"},
		{"one of two groups named", func(p *Policy, s *jobs.Spec) {
			p.Group = "server"
			s.Groups = append(s.Groups, jobs.Group{Name: "b"})
		}, nil, ""},
		{"no group", func(_ *Policy, s *jobs.Spec) { s.Groups = nil }, []verdict{failure(3, "unknown-group", "group")}, "0 groups"},

		{"kill_timeout shorter than a drain", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Tasks[1].KillTimeout = 19 * time.Second },
			[]verdict{failure(12, "kill-timeout", killTimeout)}, "scale_down.drain_timeout = 20s"},
		{"kill_timeout shorter than a request", func(p *Policy, _ *jobs.Spec) {
			p.Request.Timeout = 25 * time.Second
			p.ScaleDown.DrainTimeout = time.Minute
		}, []verdict{failure(12, "kill-timeout", killTimeout)}, "request.timeout = 25s"},
		{"kill_timeout shorter than a drain, longer than a request", func(p *Policy, _ *jobs.Spec) {
			p.Request.Timeout = time.Second
			p.ScaleDown.DrainTimeout = time.Hour
		}, nil, ""},
		{"kill_timeout and shutdown_delay that last a drain together", func(_ *Policy, s *jobs.Spec) {
			s.Groups[0].ShutdownDelay, s.Groups[0].Tasks[1].ShutdownDelay = 5*time.Second, 5*time.Second
			s.Groups[0].Tasks[1].KillTimeout = 10 * time.Second
		}, nil, ""},
		{"kill_timeout and shutdown_delay that do not", func(_ *Policy, s *jobs.Spec) {
			s.Groups[0].ShutdownDelay = 5 * time.Second
			s.Groups[0].Tasks[1].KillTimeout = 10 * time.Second
		}, []verdict{failure(12, "kill-timeout", killTimeout)}, "5s and 10s, together"},
		{"kill_timeout of a task that does not serve", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Tasks[0].KillTimeout = time.Hour }, nil, ""},

		{"a GPU threshold up without a device", func(p *Policy, _ *jobs.Spec) { p.ScaleUp.GPUUtilization = &percent },
			[]verdict{failure(12, "no-gpu-device", device)}, "the condition is never met"},
		{"a GPU threshold down without a device", func(p *Policy, _ *jobs.Spec) { p.ScaleDown.GPUUtilization = &percent },
			[]verdict{failure(12, "no-gpu-device", device)}, "the count is never lowered"},
		{"a GPU threshold from the replica's metrics without a device", func(p *Policy, _ *jobs.Spec) {
			p.ScaleUp.GPUUtilization = &percent
			p.GPU.Source = "metrics"
		}, []verdict{warning(12, "no-gpu-device", device)}, "scale_up.gpu_utilization"},
		{"a GPU threshold from Prometheus without a device", func(p *Policy, _ *jobs.Spec) {
			p.ScaleDown.GPUUtilization = &percent
			p.GPU = GPU{Source: "prometheus", Query: "avg(DCGM_FI_DEV_GPU_UTIL)"}
		}, []verdict{warning(12, "no-gpu-device", device)}, "scale_down.gpu_utilization"},
		{"a price for a GPU without a device", func(p *Policy, _ *jobs.Spec) { p.Cost = &Cost{GPU: "1x 80GB"} },
			[]verdict{warning(12, "no-gpu-device", device)}, "1x 80GB"},
		{"a price per hour alone", func(p *Policy, _ *jobs.Spec) { p.Cost = &Cost{USDPerHour: &percent} }, nil, ""},
		{"GPU thresholds with a device", func(p *Policy, s *jobs.Spec) {
			p.ScaleUp.GPUUtilization, p.ScaleDown.GPUUtilization, p.Cost = &percent, &percent, &Cost{GPU: "1x 80GB"}
			s.Groups[0].Tasks[1].GPUs = 1
		}, nil, ""},

		{"scaling bounds that hold the policy's", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Scaling = &jobs.ScalingBounds{Max: 2, Line: 6} }, nil, ""},
		{"a scaling max below the policy's", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Scaling = &jobs.ScalingBounds{Max: 1, Line: 6} },
			[]verdict{failure(6, "scaling-block", "group.server.scaling.max")}, "scaling.max = 1"},
		{"a scaling min above the policy's", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Scaling = &jobs.ScalingBounds{Min: 1, Max: 2, Line: 6} },
			[]verdict{failure(6, "scaling-block", "group.server.scaling.min")}, "scaling.min = 1"},
		{"scaling bounds that are not enabled bind all the same", func(_ *Policy, s *jobs.Spec) {
			s.Groups[0].Scaling = &jobs.ScalingBounds{Max: 1, Enabled: false, Line: 6}
		}, []verdict{failure(6, "scaling-block", "group.server.scaling.max")}, ""},

		{"a job that is not to be scaled", func(_ *Policy, s *jobs.Spec) { s.Unscaled = true },
			[]verdict{failure(3, "not-scaled", "meta.pilotlight")}, "not to be scaled"},

		{"no shutdown_delay where requests are not repeated", func(p *Policy, _ *jobs.Spec) { p.Retry.Repeat = "never" },
			[]verdict{warning(5, "shutdown-delay", "group.server.shutdown_delay")}, "shutdown_delay is 0s"},
		{"no shutdown_delay on a path where only keyed ones are", func(p *Policy, _ *jobs.Spec) { p.Route.PathPrefixes = []string{"/translate", "/recognize"} },
			[]verdict{warning(5, "shutdown-delay", "group.server.shutdown_delay")}, ""},
		{"no shutdown_delay on a host, any path of it", func(p *Policy, _ *jobs.Spec) { p.Route.Hosts = []string{"a.example"} },
			[]verdict{warning(5, "shutdown-delay", "group.server.shutdown_delay")}, ""},
		{"a shutdown_delay where requests are not repeated", func(p *Policy, s *jobs.Spec) {
			p.Retry.Repeat, s.Groups[0].Tasks[1].ShutdownDelay = "keyed", time.Second
		}, nil, ""},
		{"no shutdown_delay where all requests are repeated", func(p *Policy, _ *jobs.Spec) {
			p.Retry.Repeat, p.Route.PathPrefixes = "always", []string{"/recognize"}
		}, nil, ""},
		{"no shutdown_delay on paths where all requests are", func(p *Policy, _ *jobs.Spec) { p.Route.PathPrefixes = []string{"/translate", "/v1/chat"} }, nil, ""},

		{"a check that restarts what is loading", func(p *Policy, s *jobs.Spec) {
			p.Probe.Max = time.Minute
			s.Groups[0].Checks[2].Restart = &jobs.CheckRestart{Limit: 3, Grace: 59 * time.Second, Line: 9}
		}, []verdict{warning(9, "check-restart", "group.server.service.check.check_restart.grace")}, "never becomes ready"},
		{"a check that restarts what does not load in time", func(p *Policy, s *jobs.Spec) {
			p.Probe.Max = time.Minute
			s.Groups[0].Checks[2].Restart = &jobs.CheckRestart{Limit: 3, Grace: time.Minute, Line: 9}
		}, nil, ""},
		{"a check that restarts nothing", func(p *Policy, s *jobs.Spec) {
			p.Probe.Max = time.Minute
			s.Groups[0].Checks[2].Restart = &jobs.CheckRestart{Line: 9}
		}, nil, ""},

		{"a node drain that does not wait for a load", func(p *Policy, s *jobs.Spec) {
			p.Probe.Max = time.Minute
			s.Groups[0].Tasks[1].GPUs = 1
			s.Groups[0].Migrate = jobs.Migrate{HealthyDeadline: 59 * time.Second, Line: 7}
		}, []verdict{warning(7, "migrate", "group.server.migrate.healthy_deadline")}, "loading at once"},
		{"a node drain that does", func(p *Policy, s *jobs.Spec) {
			p.Probe.Max = time.Minute
			s.Groups[0].Tasks[1].GPUs = 1
			s.Groups[0].Migrate.HealthyDeadline = time.Minute
		}, nil, ""},
		{"a node drain of the only replica", func(p *Policy, s *jobs.Spec) {
			p.Probe.Max, p.Replicas.Max = time.Minute, 1
			s.Groups[0].Tasks[1].GPUs = 1
		}, nil, ""},
		{"a node drain of what needs no GPU", func(p *Policy, _ *jobs.Spec) { p.Probe.Max = time.Minute }, nil, ""},

		{"a group without a task that serves is not this rule's fault", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Tasks = nil }, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := fitting()
			c.change(p, s)
			findings := Fit(p, s)
			var got []verdict
			for _, f := range findings {
				got = append(got, verdict{f.Line, f.Severity, f.Rule, f.Path})
				if f.File != "m.nomad.hcl" || f.Column != 1 || f.Allowed == "" {
					t.Errorf("no file, no column or nothing allowed: %+v", f)
				}
				if !strings.HasPrefix(f.Message, `policy "translate": `) || !strings.Contains(f.Message, c.says) {
					t.Errorf("message does not name the policy, or does not say %q: %s", c.says, f.Message)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProbePath(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *Policy, s *jobs.Spec)
		want   string
	}{
		{"the first HTTP check on the port http", func(*Policy, *jobs.Spec) {}, "/ready"},
		{"the policy's own path comes first", func(p *Policy, _ *jobs.Spec) { p.Probe.Path = "/ok" }, "/ok"},
		{"a check without a port is on the port http", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Checks[1].Port = "" }, "/metrics"},
		{"no HTTP check", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Checks = s.Groups[0].Checks[:2] }, "/health"},
		{"a check without a path", func(_ *Policy, s *jobs.Spec) { s.Groups[0].Checks = []jobs.Check{{Type: "http"}} }, "/health"},
		{"an unknown group", func(p *Policy, _ *jobs.Spec) { p.Group = "web" }, "/health"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := fitting()
			c.change(p, s)
			if got := ProbePath(p, s); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestProbePathWithoutASpec(t *testing.T) {
	p, _ := fitting()
	if got := ProbePath(p, nil); got != "/health" {
		t.Errorf("got %q", got)
	}
}
