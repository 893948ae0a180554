package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// candidates are what is replayed: the policy, those that it is compared with by
// the name of their file, the other ways to scale, and the sweep.
func (f replayFlags) candidates(p *policies.Policy, warnings io.Writer) ([]simulate.Candidate, error) {
	p = f.priced(p)
	list := []simulate.Candidate{simulate.Policy(simulate.PolicyName, p)}
	for i, path := range f.Compare {
		if slices.Contains(f.Compare[:i], path) {
			return nil, usageError{fmt.Errorf("--compare names %s twice", path)}
		}
		other, err := onePolicy(path, "", warnings)
		if err != nil {
			return nil, err
		}
		c := simulate.Policy(path, f.priced(other))
		c.GPUs = other.GPUs()
		list = append(list, c)
	}
	if f.Baselines {
		list = append(list, simulate.Baselines(p)...)
	}
	if f.Sweep || f.TargetP99 > 0 {
		list = append(list, simulate.Sweep(p)...)
	}
	return list, nil
}

// priced is the policy at the price that was given.
func (f replayFlags) priced(p *policies.Policy) *policies.Policy {
	if f.USD == nil {
		return p
	}
	q := *p
	q.Cost = &policies.Cost{USDPerHour: f.USD}
	if p.Cost != nil {
		q.Cost.GPU = p.Cost.GPU
	}
	return &q
}
