package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pilotlight/pilotlight/scaler"
)

// checkPrometheus asks it what policies would have the scaler ask, in the
// scaler's own way: what it would refuse is an error here.
func (x *examination) checkPrometheus(ctx context.Context) []finding {
	const check = "prometheus"
	type asked struct {
		about, query string
		percent      bool
	}
	var all []asked
	for _, p := range x.policies {
		if p.GPU.Source == "prometheus" {
			all = append(all, asked{fmt.Sprintf("policy %q: gpu.query", p.Name), p.GPU.Query, true})
		}
		for _, m := range p.Metrics {
			if m.Source == "prometheus" {
				all = append(all, asked{fmt.Sprintf("policy %q: metric.%s.query", p.Name, m.Name), m.Query, false})
			}
		}
	}
	switch {
	case len(all) == 0 && x.prometheus == nil:
		return []finding{skipped(check, "no policy asks Prometheus")}
	case x.prometheus == nil && len(all) == 1:
		f := skipped(check, "1 query of the policies is for Prometheus, and none was named")
		f.Do = "give --prometheus to have it tried"
		return []finding{f}
	case x.prometheus == nil:
		f := skipped(check, "%d queries of the policies are for Prometheus, and none was named", len(all))
		f.Do = "give --prometheus to have them tried"
		return []finding{f}
	case len(all) == 0:
		all = []asked{{about: "Prometheus at " + x.prometheus.Redacted(), query: "vector(1)"}}
	}
	var found []finding
	for _, a := range all {
		r, err := scaler.AskPrometheus(ctx, x.prometheus, a.query)
		if err == nil && a.percent {
			err = scaler.Utilization(r.Value)
		}
		switch {
		case errors.Is(err, scaler.ErrNoSeries):
			found = append(found, warned(check, "right if nothing runs now; otherwise try the query in Prometheus' own page", "%s: %v", a.about, err))
		case err != nil:
			found = append(found, failed(check, "check --prometheus, and the query in Prometheus' own page: the scaler would not take this", "%s: %v", a.about, err))
		case r.Warning != "":
			found = append(found, warned(check, "the scaler uses the value all the same: see whether the query is still right without what is missing", "%s gives %v, and Prometheus warns: %s", a.about, r.Value, r.Warning))
		default:
			found = append(found, passed(check, "%s gives %v", a.about, r.Value))
		}
	}
	return found
}
