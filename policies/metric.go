package policies

import (
	"fmt"
	"strings"
)

// MaxMetrics is how many metric blocks a policy may have: each has a window of
// its own that the scaler remembers.
const MaxMetrics = 8

var metricLimit = number{min: -1e15, max: 1e15}

var metrics = &entries{
	most:  MaxMetrics,
	names: func(p *Policy) []string { return namesOf(p.Metrics, metricBlockName) },
	add: func(p *Policy, name string) {
		p.Metrics = withEntry(p.Metrics, Metric{Name: name, Source: "metrics"}, metricBlockName)
	},
	fields: func(prefix, name string) []field {
		at := func(p *Policy) *Metric { return entryNamed(p.Metrics, name, metricBlockName) }
		return []field{
			one(prefix+"source", choice{"metrics", "prometheus"}, "", "metrics: a scrape of each ready replica's /metrics, of which the mean counts; prometheus: query",
				inEntry(at, func(m *Metric) *string { return &m.Source })),
			one(prefix+"query", anyText, "", "metrics: the name of one metric; prometheus: PromQL that gives one number; required",
				inEntry(at, func(m *Metric) *string { return &m.Query })),
			maybe(prefix+"up", metricLimit, "of the metric", "one more condition of scale_up: above this, as a mean over its window",
				inEntry(at, func(m *Metric) **float64 { return &m.Up })),
			maybe(prefix+"down", metricLimit, "of the metric", "one more condition of scale_down: below this, as a mean over its window",
				inEntry(at, func(m *Metric) **float64 { return &m.Down })),
		}
	},
}

func metricBlockName(m *Metric) string { return m.Name }

func metricContradictions(p *Policy) []contradiction {
	var found []contradiction
	for _, m := range p.Metrics {
		path := func(name string) string { return entryPath("metric", m.Name) + "." + name }
		switch problem := metricName.check(m.Query); {
		case strings.TrimSpace(m.Query) == "":
			allowed := metricName.want
			if m.Source == "prometheus" {
				allowed = "PromQL that gives one number"
			}
			found = append(found, contradiction{fields: []string{path("query")}, message: "is required", allowed: allowed, missing: true})
		case m.Source != "prometheus" && problem != "":
			found = append(found, contradiction{
				fields:  []string{path("query"), path("source")},
				message: fmt.Sprintf(`%s is not the name of a metric, which it is for source "metrics"`, show(m.Query)),
				allowed: metricName.want + `; PromQL is for source "prometheus"`,
			})
		}
		switch {
		case m.Up == nil && m.Down == nil:
			found = append(found, contradiction{
				fields: []string{entryPath("metric", m.Name), path("up"), path("down")}, message: "changes nothing",
				allowed: "up, down, or both", missing: true,
			})
		case m.Up != nil && m.Down != nil && !(*m.Down < *m.Up):
			found = append(found, contradiction{
				fields:  []string{path("down"), path("up")},
				message: valueText(*m.Down) + " is not below " + path("up"), allowed: "below " + valueText(*m.Up),
			})
		}
	}
	return found
}
