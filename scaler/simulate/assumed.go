package simulate

import (
	"fmt"

	"github.com/pilotlight/pilotlight/policies"
)

// assumed says in sentences what a replay takes for granted of signals that a policy
// goes by and that no trace has: its figures are worth no more than that.
func assumed(name string, p *policies.Policy) (list []string) {
	if p.ScaleUp.GPUUtilization != nil || p.ScaleDown.GPUUtilization != nil {
		list = append(list, fmt.Sprintf("%s goes by gpu_utilization, which no trace has: it is taken for %.0f %% at a replica with a request, and for %.0f %% at one without.",
			name, loadedGPU, idleGPU))
	}
	for _, m := range p.Metrics {
		if m.Up != nil {
			list = append(list, fmt.Sprintf("%s goes by metric %q, which no trace has: here it never adds a replica.", name, m.Name))
		}
		if m.Down != nil {
			list = append(list, fmt.Sprintf("%s goes down by metric %q, which no trace has: what is unknown holds the count, so that here nothing goes down but by a fixed to_zero.after.", name, m.Name))
		}
	}
	return list
}
