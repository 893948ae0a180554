package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// Rules of the findings of Fit. They are stable.
const (
	ruleJobID        = "job-id"
	ruleNamespace    = "namespace"
	ruleUnknownGroup = "unknown-group"
	ruleNoGPUDevice  = "no-gpu-device"
	ruleScalingBlock = "scaling-block"
	ruleNotScaled    = "not-scaled"
)

// defaultProbePath is asked where neither policy nor job spec name a path.
const defaultProbePath = "/health"

// Fit judges a policy and a job spec together: what either could not be blamed
// for alone. An error means that the service would not work, or that Nomad would
// cut requests or refuse a scale that the policy asks for. Findings are on the
// job spec's file; columns, and lines of what the spec does not keep, are those
// of the block around it.
func Fit(p *Policy, s *jobs.Spec) []jobs.Finding {
	f := &fit{policy: p, spec: s}
	f.identity()
	g := f.group()
	if g == nil {
		return f.findings
	}
	f.scaling(g)
	f.killTimeout(g)
	f.shutdownDelay(g)
	f.loading(g)
	f.gpus(g)
	return f.findings
}

// ProbePath returns the path at which replicas are probed: the policy's own,
// else that of the group's first HTTP check on the port "http", else /health.
// s may be nil.
func ProbePath(p *Policy, s *jobs.Spec) string {
	if p.Probe.Path != "" {
		return p.Probe.Path
	}
	if s == nil {
		return defaultProbePath
	}
	g := s.GroupNamed(p.Group)
	if g == nil {
		return defaultProbePath
	}
	for _, check := range g.Checks {
		// A check on another port speaks of something else than what serves.
		if check.Type == "http" && check.Path != "" && (check.Port == "" || check.Port == "http") {
			return check.Path
		}
	}
	return defaultProbePath
}

type fit struct {
	policy   *Policy
	spec     *jobs.Spec
	findings []jobs.Finding
}

func (f *fit) add(severity, rule, path string, line int, message, allowed string) {
	f.findings = append(f.findings, jobs.Finding{
		File: f.spec.File, Line: max(line, 1), Column: 1, Severity: severity, Rule: rule, Path: path,
		Message: fmt.Sprintf("policy %q: %s", f.policy.Name, message), Allowed: allowed,
	})
}

func (f *fit) fail(rule, path string, line int, message, allowed string) {
	f.add(jobs.SeverityError, rule, path, line, message, allowed)
}

func (f *fit) warn(rule, path string, line int, message, allowed string) {
	f.add(jobs.SeverityWarning, rule, path, line, message, allowed)
}

// identity: the policy means this job.
func (f *fit) identity() {
	p, s := f.policy, f.spec
	if p.Job != s.ID {
		f.fail(ruleJobID, "", s.Line,
			fmt.Sprintf("job = %q, but the spec is of job %q", p.Job, s.ID), fmt.Sprintf("job = %q in the policy", s.ID))
	}
	if p.Namespace != s.Namespace {
		f.fail(ruleNamespace, "namespace", s.Line,
			fmt.Sprintf("namespace %q, but the job is registered in %q", p.Namespace, s.Namespace),
			"the same namespace in policy and job")
	}
	if s.Unscaled {
		f.fail(ruleNotScaled, "meta.pilotlight", s.Line,
			fmt.Sprintf("job = %q, but that job says that it is not to be scaled", p.Job), "the job of a model, or no such entry in the job's meta")
	}
}

// group returns the group that the policy means, nil after an error.
func (f *fit) group() *jobs.Group {
	p, s := f.policy, f.spec
	if g := s.GroupNamed(p.Group); g != nil {
		return g
	}
	names := make([]string, len(s.Groups))
	for i, g := range s.Groups {
		names[i] = g.Name
	}
	path, message := "group", fmt.Sprintf("job %q has %d groups, and the policy names none", s.ID, len(s.Groups))
	if p.Group != "" {
		path, message = "group."+p.Group, fmt.Sprintf("job %q has no group %q", s.ID, p.Group)
	}
	allowed := "group = one of: " + strings.Join(names, ", ")
	if len(names) == 0 {
		allowed = "a job with a group"
	}
	f.fail(ruleUnknownGroup, path, s.Line, message, allowed)
	return nil
}

// scaling: Nomad refuses counts outside a scaling block.
func (f *fit) scaling(g *jobs.Group) {
	b, r := g.Scaling, f.policy.Replicas
	if b == nil {
		return
	}
	path := "group." + g.Name + ".scaling"
	if b.Max < r.Max {
		f.fail(ruleScalingBlock, path+".max", b.Line,
			fmt.Sprintf("replicas.max is %d, but Nomad refuses more than scaling.max = %d", r.Max, b.Max),
			fmt.Sprintf("max ≥ %d, or no scaling block", r.Max))
	}
	if b.Min > r.Min {
		f.fail(ruleScalingBlock, path+".min", b.Line,
			fmt.Sprintf("replicas.min is %d, but Nomad refuses less than scaling.min = %d", r.Min, b.Min),
			"min = 0, or no scaling block")
	}
}

// gpus: a policy that speaks of GPUs runs on one.
func (f *fit) gpus(g *jobs.Group) {
	if gpus(g) > 0 {
		return
	}
	p := f.policy
	var named []string
	if p.ScaleUp.GPUUtilization != nil {
		named = append(named, "scale_up.gpu_utilization")
	}
	if p.ScaleDown.GPUUtilization != nil {
		named = append(named, "scale_down.gpu_utilization")
	}
	costs := p.Cost != nil && p.Cost.GPU != ""
	if len(named) == 0 && !costs {
		return
	}
	line, path := g.Line, "group."+g.Name
	if t := g.Main(); t != nil {
		line, path = t.Line, path+".task."+t.Name+".resources.device"
	}
	const allowed = `resources { device "nvidia/gpu" {} } in the task`
	switch {
	case len(named) > 0 && p.GPU.Source == "nomad":
		f.fail(ruleNoGPUDevice, path, line,
			fmt.Sprintf("%s needs Nomad's statistics of the task's GPU, but no task asks for a GPU device: without data %s",
				strings.Join(named, " and "), withoutGPUData(named)), allowed)
	case len(named) > 0:
		f.warn(ruleNoGPUDevice, path, line,
			fmt.Sprintf("%s is named, but no task asks for a GPU device: Nomad will not reserve one, and several replicas may share it",
				strings.Join(named, " and ")), allowed)
	default:
		f.warn(ruleNoGPUDevice, path, line,
			fmt.Sprintf("cost.gpu is %q, but no task asks for a GPU device: Nomad will not reserve one", p.Cost.GPU), allowed)
	}
}

// withoutGPUData says what a threshold does that never has data.
func withoutGPUData(named []string) string {
	if slices.Contains(named, "scale_down.gpu_utilization") {
		return "the count is never lowered"
	}
	return "the condition is never met"
}
