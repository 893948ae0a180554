package policies

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Validate returns ValidationErrors, without places, if the policy is not one
// that Parse could have returned, else nil.
func (p *Policy) Validate() error {
	var errs ValidationErrors
	report := func(path, message, allowed string) {
		errs = append(errs, FieldError{Policy: p.Name, Field: path, Message: message, Allowed: allowed})
	}
	if !isPolicyName(p.Name) {
		report("name", show(p.Name)+" is not a policy's name", policyName)
	}
	defaults := fullLike(p)
	wrongEntries(p, report)
	bad := map[string]bool{}
	for _, f := range fieldsOf(p) {
		if !f.differs(p, defaults) {
			continue
		}
		value := f.get(p)
		if value == nil { // not named, or in a block that is absent
			continue
		}
		if problem := f.shape.check(value); problem != "" {
			bad[f.path] = true
			report(f.path, problem, f.shape.allowed())
		} else if u := refusal(f.path, value); u != nil {
			bad[f.path] = true
			report(f.path, notSupportedYet, u.instead())
		}
	}
	if p.Sizing.TargetUtilization != nil && p.Sizing.Headroom != defaults.Sizing.Headroom {
		report("sizing.target_utilization", headroomToo, "one of the two")
	}
	for _, q := range contradictions(p) {
		if !q.concerns(bad) {
			report(q.fields[0], q.message, q.allowed)
		}
	}
	return errs.err()
}

const headroomToo = "stands together with sizing.headroom"

// contradiction is something wrong with a policy whose fields are all right
// each by itself.
type contradiction struct {
	fields  []string // that it is about; it is reported at the first
	message string
	allowed string
	missing bool // something that must be there is not
}

func (c contradiction) concerns(bad map[string]bool) bool {
	return slices.ContainsFunc(c.fields, func(path string) bool { return bad[path] })
}

func contradictions(p *Policy) []contradiction {
	var found []contradiction
	add := func(message, allowed string, fields ...string) {
		found = append(found, contradiction{fields: fields, message: message, allowed: allowed})
	}

	if p.Job == "" {
		found = append(found, contradiction{fields: []string{"job"}, message: "is required", allowed: "the id of a Nomad job", missing: true})
	}
	if len(p.Route.Hosts)+len(p.Route.PathPrefixes)+len(p.Route.Models) == 0 {
		found = append(found, contradiction{
			fields:  []string{"route", "route.hosts", "route.path_prefixes", "route.models"},
			message: "routes nothing", allowed: "at least one of hosts, path_prefixes and models", missing: true,
		})
	}
	for _, prefix := range p.Route.PathPrefixes {
		for _, r := range reserved {
			if under(prefix, r) {
				add(show(prefix)+" is reserved: Pilotlight answers "+r+" itself", "another path", "route.path_prefixes")
			}
		}
		for _, r := range engineOnly {
			if under(prefix, r) {
				add(show(prefix)+" is an engine's private endpoint and never routed", "another path", "route.path_prefixes")
			}
		}
	}
	if t := p.Translate; t != nil && t.Backend == "completions" && t.Model == "" {
		found = append(found, contradiction{
			fields:  []string{"translate.model", "translate.backend"},
			message: `is required by backend "completions"`, allowed: "the name of a model", missing: true,
		})
	}
	if p.Probe.Timeout > p.Probe.Max {
		add(durationText(p.Probe.Timeout)+" is longer than probe.max", "at most "+durationText(p.Probe.Max), "probe.timeout", "probe.max")
	}
	if p.Replicas.Min > p.Replicas.Max {
		add(fmt.Sprintf("%d is above replicas.max", p.Replicas.Min), fmt.Sprintf("at most %d", p.Replicas.Max), "replicas.min", "replicas.max")
	}
	for _, w := range []struct {
		path string
		of   time.Duration
	}{{"scale_up.window", p.ScaleUp.Window}, {"scale_down.window", p.ScaleDown.Window}} {
		if w.of < p.Sizing.Sample {
			add(durationText(w.of)+" is shorter than one sizing.sample", "at least "+durationText(p.Sizing.Sample), w.path, "sizing.sample")
		}
	}
	found = append(found, hysteresis(p)...)
	if p.ToZero.AtLeast > p.ToZero.AtMost {
		add(durationText(p.ToZero.AtLeast)+" is longer than to_zero.at_most", "at most "+durationText(p.ToZero.AtMost), "to_zero.at_least", "to_zero.at_most")
	}
	found = append(found, gpuContradictions(p.GPU)...)
	found = append(found, scheduleContradictions(p)...)
	return append(found, metricContradictions(p)...)
}

// hysteresis: what scales down must lie below what scales up, or the count
// would swing.
func hysteresis(p *Policy) []contradiction {
	var found []contradiction
	for i := range fields {
		down := &fields[i]
		blockName, name := down.split()
		if blockName != "scale_down" {
			continue
		}
		up := fieldAt("scale_up." + name)
		if up == nil || !isThreshold(name) {
			continue
		}
		high, low := up.get(p), down.get(p)
		if high == nil || low == nil || below(low, high) {
			continue
		}
		found = append(found, contradiction{
			fields:  []string{down.path, up.path},
			message: valueText(down.shape.plain(low)) + " is not below " + up.path,
			allowed: "below " + valueText(up.shape.plain(high)),
		})
	}
	return found
}

// thresholds are the signals that scale_up and scale_down can name.
var thresholds = []string{"latency_mean", "latency_p50", "latency_p95", "latency_p99", "gpu_utilization", "demand", "qps"}

func isThreshold(name string) bool { return slices.Contains(thresholds, name) }

func below(a, b any) bool {
	if d, ok := a.(time.Duration); ok {
		return d < b.(time.Duration)
	}
	return a.(float64) < b.(float64)
}

// Warnings returns what is allowed and probably not meant, without places.
// coldStart is how long a cold start of the service takes, 0 if that is not
// known.
func Warnings(p *Policy, coldStart time.Duration) []FieldError {
	var found []FieldError
	warn := func(path, message, allowed string) {
		found = append(found, FieldError{Policy: p.Name, Field: path, Message: message, Allowed: allowed})
	}
	if coldStart > 0 && p.Replicas.Min == 0 {
		rounded := coldStart.Round(time.Millisecond)
		switch {
		case p.ToZero.Mode == "after" && p.ToZero.After < coldStart:
			warn("to_zero.after", fmt.Sprintf("%q is shorter than a cold start (%s): a pause costs callers more waiting than it saves GPU time",
				durationText(p.ToZero.After), durationText(rounded)), "at least "+strconv.Quote(durationText(rounded)))
		case p.ToZero.Mode == "auto" && p.ToZero.AtMost < coldStart:
			warn("to_zero.at_most", fmt.Sprintf("%q is shorter than a cold start (%s): a pause costs callers more waiting than it saves GPU time",
				durationText(p.ToZero.AtMost), durationText(rounded)), "at least "+strconv.Quote(durationText(rounded)))
		}
	}
	if p.Sizing.Mode == "thresholds" && !anyThreshold(p, "scale_up") && p.Replicas.Max > max(p.Replicas.Min, 1) {
		warn("sizing.mode", `is "thresholds", but scale_up names no condition: there will never be a second replica for demand`, "a condition in scale_up, or \"auto\"")
	}
	gpuWarnings(p, warn)
	if p.ByHand.Count != "pin" && p.ByHand.For != full(p.Name).ByHand.For {
		warn("by_hand.for", fmt.Sprintf("%q is not used: by_hand.count is %q, and only a pin ends", durationText(p.ByHand.For), p.ByHand.Count), `by_hand.count = "pin", or no by_hand.for`)
	}
	if p.Hold.MaxBody > p.Hold.MaxBytes {
		warn("hold.max_body", fmt.Sprintf("%q is above hold.max_bytes: such a body is never held", sizeText(p.Hold.MaxBody)), "at most "+strconv.Quote(sizeText(p.Hold.MaxBytes)))
	}
	if p.Result.MaxSize > p.Result.MaxBytes {
		warn("result.max_size", fmt.Sprintf("%q is above result.max_bytes: after such an answer no other request with a key is accepted for a while", sizeText(p.Result.MaxSize)), "at most "+strconv.Quote(sizeText(p.Result.MaxBytes)))
	}
	return found
}

func anyThreshold(p *Policy, blockName string) bool {
	if slices.ContainsFunc(p.Metrics, func(m Metric) bool {
		return blockName == "scale_up" && m.Up != nil || blockName == "scale_down" && m.Down != nil
	}) {
		return true
	}
	return slices.ContainsFunc(thresholds, func(name string) bool {
		return fieldAt(blockName+"."+name).get(p) != nil
	})
}
