package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
)

// checkNodes counts nodes, and the GPUs that are free on them now.
func (x *examination) checkNodes(ctx context.Context) []finding {
	const check = "nomad-nodes"
	switch {
	case !x.reached:
		return needsNomad(check)
	case !x.may(nomad.RightNodeRead):
		return []finding{skipped(check, "the token may not read nodes")}
	}
	nodes, err := x.nomad.Nodes(ctx)
	switch {
	case errors.Is(err, jobs.ErrDenied):
		return []finding{skipped(check, "the token may not read nodes")}
	case err != nil:
		return []finding{failed(check, "see the finding on Nomad", "%v", err)}
	}
	x.nodes = nodes
	return []finding{judgeNodes(nodes), judgeGPUs(nodes, slices.ContainsFunc(x.policies, usesGPU))}
}

func usesGPU(p *policies.Policy) bool { return p.Cost != nil && p.Cost.GPU != "" }

func judgeNodes(nodes []nomad.Node) finding {
	const check = "nomad-nodes"
	var ready int
	versions, drivers := map[string]int{}, map[string]int{}
	var away []string
	for _, n := range nodes {
		if !n.Places() {
			away = append(away, fmt.Sprintf("%s is %s", n.Name, n.State))
			continue
		}
		ready++
		versions[n.Version]++
		for _, d := range n.Drivers {
			drivers[d]++
		}
	}
	if ready == 0 {
		f := failed(check, "start a Nomad client, or make one eligible: nomad node eligibility -enable ID", "%s, none of them ready", count(len(nodes), "node"))
		f.Details = away
		return f
	}
	f := passed(check, "%s, %d ready (Nomad %s); task drivers: %s", count(len(nodes), "node"), ready, tallied(versions, ready), tallied(drivers, ready))
	f.Details = away
	return f
}

// tallied lists names, with their counts where not all nodes have them.
func tallied(counts map[string]int, all int) string {
	var parts []string
	for name, n := range counts {
		if n < all {
			name = fmt.Sprintf("%s on %d", name, n)
		}
		parts = append(parts, name)
	}
	slices.Sort(parts)
	return cmp.Or(strings.Join(parts, ", "), "none")
}

func judgeGPUs(nodes []nomad.Node, wanted bool) finding {
	const check = "gpus"
	var with, healthy, used, unhealthy int
	var lines []string
	for _, n := range nodes {
		has := false
		for _, d := range n.Devices {
			if d.Type != "gpu" {
				continue
			}
			line := fmt.Sprintf("%s: %d of %d %s free", n.Name, d.Healthy-d.Used, d.Healthy, d.Name)
			if d.Memory != "" {
				line += ", " + d.Memory + " each"
			}
			if d.Driver != "" {
				line += ", driver " + d.Driver
			}
			if d.Unhealthy > 0 {
				line += fmt.Sprintf(", %d unhealthy", d.Unhealthy)
			}
			if !n.Places() {
				lines = append(lines, line+"; the node is "+n.State)
				continue
			}
			lines = append(lines, line)
			has = true
			healthy, used, unhealthy = healthy+d.Healthy, used+d.Used, unhealthy+d.Unhealthy
		}
		if has {
			with++
		}
	}
	f := passed(check, "%s with GPUs, %d without; %d of %d GPUs free", count(with, "ready node"), placing(nodes)-with, healthy-used, healthy)
	f.Details = lines
	switch {
	case healthy == 0 && wanted:
		f.Result, f.Do = resultWarning, "install the nvidia device plugin and the driver on the GPU nodes: plugin \"nomad-device-nvidia\" in the client's configuration"
	case unhealthy > 0:
		f.Result, f.Do = resultWarning, "run nvidia-smi on the nodes with unhealthy GPUs: nothing is placed on those"
	}
	return f
}

func placing(nodes []nomad.Node) (n int) {
	for _, node := range nodes {
		if node.Places() {
			n++
		}
	}
	return n
}

// Bounds of what is asked of clients one by one.
const (
	askedClients  = 24
	askedAtOnce   = 8
	clientSkewMax = 2 * time.Second // statistics are a second old
)

// checkClients asks each client for its statistics and its settings.
func (x *examination) checkClients(ctx context.Context) []finding {
	const check = "nomad-clients"
	if !x.reached {
		return needsNomad(check)
	}
	asked := slices.DeleteFunc(slices.Clone(x.nodes), func(n nomad.Node) bool { return !n.Places() })
	if len(asked) == 0 {
		return []finding{skipped(check, "no ready node is known")}
	}
	slices.SortStableFunc(asked, func(a, b nomad.Node) int { return cmp.Compare(len(b.Devices), len(a.Devices)) }) // those with GPUs first
	asked = asked[:min(len(asked), askedClients)]
	x.nodes, x.clients = asked, make([]nomad.Client, len(asked))
	var wg sync.WaitGroup
	turns := make(chan struct{}, askedAtOnce)
	for i := range asked {
		wg.Go(func() {
			select {
			case turns <- struct{}{}:
				defer func() { <-turns }()
				x.clients[i] = x.nomad.Client(ctx, asked[i])
			case <-ctx.Done():
				x.clients[i] = nomad.Client{StatsWhy: "not asked in time", SettingsWhy: "not asked in time"}
			}
		})
	}
	wg.Wait()
	return []finding{x.judgeClocks(), x.judgeStatistics()}
}

func (x *examination) judgeClocks() finding {
	const check = "client-clocks"
	var off []string
	var known int
	for i, c := range x.clients {
		if c.Clock == nil {
			continue
		}
		known++
		if c.Clock.Off(clientSkewMax) {
			off = append(off, fmt.Sprintf("%s: %s this machine's", x.nodes[i].Name, apart(c.Clock.Ahead)))
		}
	}
	switch {
	case known == 0:
		return skipped(check, "no client told its time: %s", x.clients[0].StatsWhy)
	case len(off) > 0:
		f := warned(check, "run NTP (chrony, systemd-timesyncd) there: the phases of cold starts are off by as much",
			"the clocks of %d of %s are more than %s off", len(off), count(known, "client"), clientSkewMax)
		f.Details = off
		return f
	}
	return passed(check, "the clocks of %s agree with this machine's to %s", count(known, "client"), clientSkewMax)
}

// judgeStatistics: a node's statistics suffice; those of an allocation need a
// setting and are not needed.
func (x *examination) judgeStatistics() finding {
	const check = "gpu-statistics"
	var gpus, measured, published, told int
	var dumb []string
	for i, c := range x.clients {
		if c.AllocMetrics != nil {
			told++
			if *c.AllocMetrics {
				published++
			}
		}
		n := 0
		for _, d := range x.nodes[i].Devices {
			if d.Type == "gpu" {
				n += d.Healthy
			}
		}
		gpus, measured = gpus+n, measured+min(c.Measured, n)
		if n > 0 && c.Measured < n {
			dumb = append(dumb, fmt.Sprintf("%s: %d of %d; %s", x.nodes[i].Name, c.Measured, n,
				cmp.Or(c.StatsWhy, "the device plugin tells no figures (MIG instances have none)")))
		}
	}
	setting := "publish_allocation_metrics is not known, and not needed: statistics come per node"
	if told > 0 {
		setting = fmt.Sprintf("publish_allocation_metrics is on at %d of %s, and not needed: statistics come per node", published, count(told, "client"))
	}
	switch {
	case gpus == 0:
		return skipped(check, "no GPU is known; %s", setting)
	case len(dumb) > 0:
		f := warned(check, `choose gpu { source = "metrics" } or "prometheus" in the policies of what runs there`, "%d of %d GPUs are measured; %s", measured, gpus, setting)
		f.Details = dumb
		return f
	}
	return passed(check, "all %d GPUs are measured; %s", gpus, setting)
}
