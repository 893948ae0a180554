package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pilotlight/pilotlight/policies"
)

type policySimulateCommand struct {
	Policy string `arg:"" name:"name-or-file" help:"Name of a policy in force, or a policy file: then nothing is asked of a control plane."`
	Trace  string `required:"" help:"Trace file, plain or gzipped; - for standard input." placeholder:"FILE"`
	Name   string `help:"Name of the policy, if the file has several." placeholder:"NAME"`
	replayFlags
	controlFlags
}

// Help is an example.
func (policySimulateCommand) Help() string {
	return "The same as pilotlight replay, from the policy's side.\n\nExample:\n  pilotlight policy simulate drafts/chat.hcl --trace week.csv.gz --baselines\n  pilotlight policy simulate chat --trace week.csv.gz --sweep -o html > report.html"
}

// Run replays and prints.
func (s policySimulateCommand) Run(ctx context.Context, std streams) error {
	if err := s.check(); err != nil {
		return err
	}
	_, err := os.Stat(s.Policy)
	switch {
	case err == nil:
		p, err := onePolicy(s.Policy, s.Name, std.err)
		if err != nil {
			return err
		}
		return s.replay(ctx, std, s.Trace, p)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case s.Name != "":
		return usageError{fmt.Errorf("%s is no file, and --name picks a policy of one", s.Policy)}
	case checkName(s.Policy) != nil:
		return usageError{fmt.Errorf("%q is neither a file nor a policy's name", s.Policy)}
	}
	p, err := s.inForce(ctx)
	if err != nil {
		return err
	}
	return s.replay(ctx, std, s.Trace, p)
}

// inForce reads the policy of that name from the control plane.
func (s policySimulateCommand) inForce(ctx context.Context) (*policies.Policy, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	r, err := c.policy(ctx, s.Policy, mediaHCL)
	if err != nil {
		return nil, err
	}
	list, err := policies.Parse(s.Policy, r.body)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%s: the control plane answered %d policies, not one", s.Policy, len(list))
	}
	return list[0], nil
}
