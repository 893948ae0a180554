package main

type jobCommand struct {
	Check jobCheckCommand `cmd:"" help:"Check job specs, alone or together with their policies, offline."`
	Plan  jobPlanCommand  `cmd:"" help:"Ask a cluster what registering job specs would do, and whether all replicas would fit."`
}

// Help is an example.
func (jobCommand) Help() string {
	return "Example:\n  pilotlight job check jobs/*.nomad.hcl --policies policies/"
}
