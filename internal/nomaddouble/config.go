package nomaddouble

import (
	"fmt"
	"log/slog"
	"time"
)

// Config of a double. The zero value is one node without devices.
type Config struct {
	// Nodes of the cluster; none: one node without devices.
	Nodes []Node
	// Delays of the cluster; zero fields take those of DefaultDelays.
	Delays Delays
	// Dir is where tasks work and leave their output; "" is os.TempDir().
	Dir string
	// BaseEnv of the tasks, as os.Environ gives it; a client passes its own PATH on.
	BaseEnv []string
	// Logger; nil logs nothing.
	Logger *slog.Logger
	// MaxKillTimeout of the clients, which bounds every task's kill_timeout; 0 is
	// Nomad's own default of 30 s.
	MaxKillTimeout time.Duration
	// WithoutAllocationMetrics is Nomad's own default: the statistics of an
	// allocation are empty.
	WithoutAllocationMetrics bool
}

// Node of the cluster.
type Node struct {
	Name       string
	Datacenter string // default dc1
	Pool       string // default "default"
	Class      string
	Attributes map[string]string // beside those that every node has
	CPU        int               // MHz; 0 never runs out
	Memory     int               // MiB; 0 never runs out
	Devices    []Device
	Skew       time.Duration // of its clock, against the servers'
}

// Device group of a node.
type Device struct {
	Vendor, Type, Name string
	IDs                []string
	Unhealthy          []string // of IDs
	Attributes         map[string]Attribute
}

// GPUs returns a group of n healthy nvidia GPUs.
func GPUs(n int) Device {
	d := Device{Vendor: "nvidia", Type: "gpu", Name: "NVIDIA H100 80GB HBM3", Attributes: map[string]Attribute{
		"driver_version": {Text: "550.54.15"}, "memory": {Int: 81559, Unit: "MiB"}, "power": {Int: 700, Unit: "W"},
		"bar1": {Int: 131072, Unit: "MiB"}, "cores_clock": {Int: 1980, Unit: "MHz"}, "memory_clock": {Int: 2619, Unit: "MHz"},
		"pci_bandwidth": {Int: 63008, Unit: "MB/s"}, "display_state": {Text: "Disabled"}, "persistence_mode": {Text: "Enabled"},
	}}
	for i := range n {
		d.IDs = append(d.IDs, fmt.Sprintf("GPU-%08d-1111-2222-3333-444444444444", i))
	}
	return d
}

// Delays of the cluster's own work.
type Delays struct {
	Plan       time.Duration // evaluation written → allocations placed or told to stop
	Start      time.Duration // placed → task process started
	Batch      time.Duration // something happened on a client → the servers know
	Stop       time.Duration // told to stop → the client acts
	Heartbeat  time.Duration // between two heartbeats of the event stream
	Deployment time.Duration // placed → the deployment of it is over
	Healthy    time.Duration // running → healthy, without a deployment
	Drain      time.Duration // a drain begins, or goes on → the next is to move
	NodeLost   time.Duration // a client falls silent → its node is down
}

// DefaultDelays are what a dev agent on a machine with two CPUs took.
func DefaultDelays() Delays {
	return Delays{
		Plan:       10 * time.Millisecond,
		Start:      125 * time.Millisecond,
		Batch:      200 * time.Millisecond,
		Stop:       7 * time.Millisecond,
		Heartbeat:  30 * time.Second,
		Deployment: 11500 * time.Millisecond,
		Healthy:    10 * time.Second,
		Drain:      time.Second,
		NodeLost:   20 * time.Second,
	}
}

// Quick returns delays a tenth as long, for tests that measure nothing.
func Quick() Delays {
	return Delays{
		Plan:       time.Millisecond,
		Start:      10 * time.Millisecond,
		Batch:      20 * time.Millisecond,
		Stop:       time.Millisecond,
		Heartbeat:  30 * time.Second,
		Deployment: time.Second,
		Healthy:    500 * time.Millisecond,
		Drain:      100 * time.Millisecond,
		NodeLost:   500 * time.Millisecond,
	}
}

// over returns d, with the delays of other where d has none.
func (d Delays) over(other Delays) Delays {
	for _, f := range []struct{ v, other *time.Duration }{
		{&d.Plan, &other.Plan}, {&d.Start, &other.Start}, {&d.Batch, &other.Batch}, {&d.Stop, &other.Stop},
		{&d.Heartbeat, &other.Heartbeat}, {&d.Deployment, &other.Deployment}, {&d.Healthy, &other.Healthy},
		{&d.Drain, &other.Drain}, {&d.NodeLost, &other.NodeLost},
	} {
		if *f.v == 0 {
			*f.v = *f.other
		}
	}
	return d
}
