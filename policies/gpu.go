package policies

import (
	"fmt"
	"strings"
)

// metricName is a name of Prometheus' text format, as gpu.query is one for
// source "metrics".
var metricName = text{200, isMetricName, "the name of one metric: letters, digits, _ and :, not a digit first"}

func isMetricName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c == '_', c == ':', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return s != ""
}

// gpuContradictions: what stands in the gpu block has a meaning for its source.
// A query or port that the source does not use is refused, since whoever wrote
// it thinks that it acts.
func gpuContradictions(g GPU) []contradiction {
	var found []contradiction
	add := func(message, allowed string, fields ...string) {
		found = append(found, contradiction{fields: fields, message: message, allowed: allowed})
	}
	switch g.Source {
	case "prometheus":
		if strings.TrimSpace(g.Query) == "" {
			found = append(found, contradiction{
				fields:  []string{"gpu.query", "gpu.source"},
				message: `is required by source "prometheus"`, allowed: "PromQL that gives one number, in percent", missing: true,
			})
		}
	case "metrics":
		if problem := metricName.check(g.Query); g.Query != "" && problem != "" {
			add(fmt.Sprintf(`%s is not the name of a metric, which it is for source "metrics"`, show(g.Query)),
				metricName.want+`; PromQL is for source "prometheus"`, "gpu.query", "gpu.source")
		}
	default:
		if g.Query != "" {
			add(fmt.Sprintf("is not used by source %q", g.Source), `source "metrics" or "prometheus", or no query`, "gpu.query", "gpu.source")
		}
	}
	if g.Port != 0 && g.Source != "metrics" {
		add(fmt.Sprintf("is not used by source %q", g.Source), `source "metrics", or no port`, "gpu.port", "gpu.source")
	}
	return found
}

// leastPercent: a threshold of GPU utilization below it was probably written as
// a share of 1.
const leastPercent = 1

// gpuWarnings is about what is allowed and probably not meant.
func gpuWarnings(p *Policy, warn func(path, message, allowed string)) {
	for _, t := range []struct {
		path  string
		value *float64
	}{
		{"scale_up.gpu_utilization", p.ScaleUp.GPUUtilization},
		{"scale_down.gpu_utilization", p.ScaleDown.GPUUtilization},
	} {
		if t.value != nil && *t.value <= leastPercent {
			warn(t.path, fmt.Sprintf("%v is in percent, and next to nothing", *t.value), fmt.Sprintf("%v, if a share of 1 was meant", *t.value*100))
		}
	}
}
