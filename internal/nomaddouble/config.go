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
}

// Node of the cluster.
type Node struct {
	Name       string
	Datacenter string // default dc1
	Pool       string // default "default"
	Class      string
	Devices    []Device
}

// Device group of a node.
type Device struct {
	Vendor, Type, Name string
	IDs                []string
}

// GPUs returns a group of n healthy nvidia GPUs.
func GPUs(n int) Device {
	d := Device{Vendor: "nvidia", Type: "gpu", Name: "NVIDIA H100 80GB HBM3"}
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
	}
}

func (d Delays) filled() Delays {
	def := DefaultDelays()
	for _, f := range []struct{ v, def *time.Duration }{
		{&d.Plan, &def.Plan}, {&d.Start, &def.Start}, {&d.Batch, &def.Batch}, {&d.Stop, &def.Stop},
		{&d.Heartbeat, &def.Heartbeat}, {&d.Deployment, &def.Deployment},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	return d
}
