package nomaddouble

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Measurement of one device, as its node's plugin gives it.
type Measurement struct {
	Utilization             float64 // percent
	MemoryUsed, MemoryTotal int64   // MiB
	NotAvailable            bool    // "N/A" for utilization and memory, as of some GPUs
	None                    bool    // the plugin says nothing of it, as of a MIG instance
}

// Statistics is how a client answers questions about them.
type Statistics struct {
	Empty       bool          // 200 without devices, Timestamp 0
	Frozen      bool          // no answer at all
	Unreachable bool          // the servers have no path to it
	Delay       time.Duration // before each answer
	Age         time.Duration // of the measurements
}

// Measure says what a device of a node, by name, measures from now on.
func (s *Server) Measure(node, device string, m Measurement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(node)
	if n == nil {
		return fmt.Errorf("nomaddouble: no node %s", node)
	}
	n.measurements[device] = m
	return nil
}

// SetStatistics says how the client of a node, by name, answers from now on.
func (s *Server) SetStatistics(node string, how Statistics) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(node)
	if n == nil {
		return fmt.Errorf("nomaddouble: no node %s", node)
	}
	n.statistics = how
	if n.thaw != nil {
		close(n.thaw)
		n.thaw = nil
	}
	if how.Frozen {
		n.thaw = make(chan struct{})
	}
	return nil
}

// clientOf waits for the client of a node and reports whether it answers; what
// does not has been dealt with.
func (s *Server) clientOf(w http.ResponseWriter, r *http.Request, n *node) bool {
	s.mu.Lock()
	how, thaw, down, silent, lost := n.statistics, n.thaw, n.status != statusReady, n.silent, n.lost
	s.mu.Unlock()
	switch {
	case how.Unreachable || down:
		refuse(w, 404, "No path to node")
		return false
	case silent: // nobody has noticed yet
		thaw = lost
	}
	if thaw != nil {
		select {
		case <-thaw:
		case <-r.Context().Done():
			return false
		}
	}
	return sleep(r.Context(), how.Delay)
}

func (s *Server) clientStatistics(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("node_id")
	s.mu.Lock()
	n := s.node(id)
	if id == "" {
		n = s.nodes[0] // the agent's own
	}
	s.mu.Unlock()
	if n == nil {
		refuse(w, 404, "Unknown node %s", id)
		return
	}
	if !s.clientOf(w, r, n) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().Add(n.Skew)
	d := document{"AllocDirStats": nil, "CPU": []document{}, "CPUTicksConsumed": 0.0, "DiskStats": []document{}, "Memory": nil,
		"Uptime": 12167, "Timestamp": now.UnixNano(), "DeviceStats": n.deviceStats(nil, now)}
	if n.statistics.Empty {
		d["DeviceStats"], d["Timestamp"] = nil, 0
	}
	answerPlain(w, d)
}

// allocationStatistics are empty where the client does not collect them, and of
// an allocation that is over.
func (s *Server) allocationStatistics(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	a := s.lookUp(w, r, `Unknown allocation "`+r.PathValue("id")+`"`)
	s.mu.Unlock()
	if a == nil || !s.clientOf(w, r, a.node) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.WithoutAllocationMetrics || a.node.statistics.Empty || a.gone || a.states == nil {
		answerPlain(w, document{"ResourceUsage": usageOf([]document{}, false), "Tasks": document{}, "Timestamp": 0})
		return
	}
	now := time.Now().Add(a.node.Skew)
	tasks, whole := document{}, []document{}
	for _, t := range a.group.Tasks {
		ids := []string{}
		for _, g := range a.Devices[t.Name] {
			ids = append(ids, g.IDs...)
		}
		var own any
		if stats := a.node.deviceStats(ids, now); stats != nil {
			own = stats
			whole = append(whole, stats...)
		}
		tasks[t.Name] = document{"Pids": document{"1": usageOf(nil, true)}, "ResourceUsage": usageOf(own, true), "Timestamp": now.UnixNano()}
	}
	answerPlain(w, document{"ResourceUsage": usageOf(whole, true), "Tasks": tasks, "Timestamp": now.UnixNano()})
}

func usageOf(devices any, measured bool) document {
	cpu := document{"Measured": nil, "Percent": 0.0, "SystemMode": 0.0, "ThrottledPeriods": 0, "ThrottledTime": 0, "TotalTicks": 0.0, "UserMode": 0.0}
	memory := document{"Cache": 0, "KernelMaxUsage": 0, "KernelUsage": 0, "MappedFile": 0, "MaxUsage": 0, "Measured": nil, "RSS": 0, "Swap": 0, "Usage": 0}
	if measured {
		cpu["Measured"] = []string{"System Mode", "User Mode", "Percent"}
		memory["Measured"], memory["RSS"] = []string{"RSS", "Swap"}, 18739200
	}
	return document{"CpuStats": cpu, "MemoryStats": memory, "DeviceStats": devices}
}

// deviceStats of the devices with those ids, of all without any; nil for none.
func (n *node) deviceStats(ids []string, now time.Time) []document {
	var groups []document
	for _, d := range n.Devices {
		instances := document{}
		for _, id := range d.IDs {
			m := n.measurements[id]
			if (ids != nil && !slices.Contains(ids, id)) || m.None {
				continue
			}
			memory := quantity("UsedMemory / TotalMemory", "MiB", m.MemoryUsed, m.MemoryTotal)
			utilization := quantity("Percent of time over the past sample period during which one or more kernels were executing on the GPU.", "%", int64(m.Utilization), 0)
			if m.NotAvailable {
				memory, utilization = notAvailable("UsedMemory / TotalMemory", "MiB"), notAvailable(utilization["Desc"].(string), "%")
			}
			instances[id] = document{"Summary": memory, "Timestamp": now.Add(-n.statistics.Age).UTC(), "Stats": document{"Nested": document{},
				"Attributes": attributesOf(memory, utilization)}}
		}
		if len(instances) > 0 {
			groups = append(groups, document{"Vendor": d.Vendor, "Type": d.Type, "Name": d.Name, "InstanceStats": instances})
		}
	}
	return groups
}

func attributesOf(memory, utilization document) document {
	return document{
		"Memory state": memory, "GPU utilization": utilization,
		"Memory utilization":  quantity("Percentage of bandwidth used during the past sample period", "%", 38, 0),
		"BAR1 buffer state":   quantity("UsedBAR1 / TotalBAR1", "MiB", 3, 131072),
		"Power usage":         quantity("Power usage for this GPU in watts and its associated circuitry (e.g. memory) / Maximum GPU Power", "W", 412, 700),
		"Temperature":         quantity("Temperature of the Unit", "C", 61, 0),
		"Encoder utilization": quantity("Percent of time over the past sample period during which GPU Encoder was used", "%", 0, 0),
		"Decoder utilization": quantity("Percent of time over the past sample period during which GPU Decoder was used", "%", 0, 0),
		"ECC L1 errors":       notAvailable("Requested L1Cache error counter for the device", "#"),
		"ECC L2 errors":       quantity("Requested L2Cache error counter for the device", "#", 0, 0),
		"ECC memory errors":   quantity("Requested memory error counter for the device", "#", 0, 0),
	}
}

func quantity(what, unit string, n, of int64) document {
	d := document{"Desc": what, "Unit": unit, "IntNumeratorVal": n}
	if of > 0 {
		d["IntDenominatorVal"] = of
	}
	return d
}

func notAvailable(what, unit string) document {
	return document{"Desc": what, "Unit": unit, "StringVal": "N/A"}
}
