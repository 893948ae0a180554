package simulate

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// Candidate is one way to scale that is replayed.
type Candidate struct {
	Name string
	// Patience and Headroom of a candidate that [Sweep] made; nil of others.
	Patience, Headroom *float64
	GPUs               int // of a replica; 0: as Setup says

	limits   limits
	price    *float64 // USD per replica and hour
	gpus     int      // of a replica, by the policy
	min, max int
	most     map[string]int
	make     func(min, max int) controller
	assumed  []string // of what the policy goes by and no trace knows
}

// UpTo returns the candidates with another replicas.max for each service that is
// named, such as its peak: see [Peaks]. [Single] has one replica whatever is said.
func UpTo(most map[string]int, list []Candidate) []Candidate {
	out := make([]Candidate, len(list))
	for i, c := range list {
		c.most = most
		out[i] = c
	}
	return out
}

// What the results of policies are called: of the only one, or of one that is not
// in force yet and the one that is.
const (
	PolicyName = "policy"
	DraftName  = "draft"
	LiveName   = "live"
)

// Policy is Pilotlight under a policy.
func Policy(name string, p *policies.Policy) Candidate {
	c := candidate(name, p, func(lo, hi int) controller {
		if lo == p.Replicas.Min && hi == p.Replicas.Max {
			return newPilotlight(p)
		}
		bounded := *p
		bounded.Replicas.Min, bounded.Replicas.Max = lo, hi
		return newPilotlight(&bounded)
	})
	c.assumed = assumed(name, p)
	return c
}

// The patience and headroom of a Pareto chart.
var (
	Patiences = []float64{0.1, 0.25, 0.5, 1, 2, 4, 8, 16}
	Headrooms = []float64{0.5, 1, 2}
)

// Sweep is Pilotlight under a policy, with every patience at every headroom of a
// Pareto chart in place of the policy's own. A policy with a target utilization
// has no headroom: it gets the patiences alone.
func Sweep(p *policies.Policy) []Candidate {
	headrooms := Headrooms
	if p.Sizing.TargetUtilization != nil {
		headrooms = []float64{p.Sizing.Headroom}
	}
	var list []Candidate
	for _, beta := range headrooms {
		for _, theta := range Patiences {
			q := *p
			q.Sizing.Patience, q.Sizing.Headroom = theta, beta
			c := Policy(fmt.Sprintf("patience=%g headroom=%g", theta, beta), &q)
			c.Patience, c.Headroom = &theta, &beta
			list = append(list, c)
		}
	}
	return list
}

// Names of baselines that have bounds of their own: comparing with them is fair
// within the same bounds.
const (
	NomadAS = "nomad-as"  // cannot leave zero: at least one replica
	Single  = "single-5m" // at most one replica
)

// Baselines are the other ways to scale, with the bounds, slots and prices of a
// policy. always-on is computed, not replayed: see [AlwaysOn].
func Baselines(p *policies.Policy) []Candidate {
	var list []Candidate
	add := func(name string, make func(lo, hi int) controller) { list = append(list, candidate(name, p, make)) }
	for _, t := range []struct {
		name string
		of   time.Duration
	}{{"fixed-5m", 5 * time.Minute}, {"fixed-10m", 10 * time.Minute}, {"fixed-15m", 15 * time.Minute}} {
		add(t.name, func(lo, hi int) controller { return &fixed{timeout: t.of, min: lo, max: hi} })
	}
	add("kpa", func(lo, hi int) controller { return &kpa{min: lo, max: hi} })
	add("hpa-keda", func(lo, hi int) controller { return &hpa{min: lo, max: hi} })
	add(NomadAS, func(lo, hi int) controller { return &autoscaler{min: lo, max: hi} })
	add(Single, func(int, int) controller { return &single{timeout: 5 * time.Minute} })
	return list
}

func candidate(name string, p *policies.Policy, make func(lo, hi int) controller) Candidate {
	c := Candidate{
		Name: name, make: make, min: p.Replicas.Min, max: p.Replicas.Max, gpus: p.GPUs(),
		limits: limits{
			slots: max(1, p.Replicas.Concurrency), gpus: 1, maxHeld: p.Hold.MaxRequests, maxWait: p.Hold.MaxWait,
		},
	}
	if p.Cost != nil {
		c.price = p.Cost.USDPerHour
	}
	return c
}

// control makes the controller of one service.
func (c Candidate) control(service string) controller {
	hi := c.max
	if most, named := c.most[service]; named {
		hi = max(most, c.min, 1)
	}
	return c.make(c.min, hi)
}
