package scaler

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// Names of the DCGM exporter. GR_ENGINE_ACTIVE is the finer measure of the two,
// and the only one that MIG instances have, but is off on many GPUs, so it comes
// second.
const (
	dcgmUtilization = "DCGM_FI_DEV_GPU_UTIL"          // percent
	dcgmActive      = "DCGM_FI_PROF_GR_ENGINE_ACTIVE" // share of 1
	dcgmUsed        = "DCGM_FI_DEV_FB_USED"           // MiB, as all of these
	dcgmFree        = "DCGM_FI_DEV_FB_FREE"
	dcgmReserved    = "DCGM_FI_DEV_FB_RESERVED" // by the driver; neither used nor free
	dcgmTotal       = "DCGM_FI_DEV_FB_TOTAL"
)

// dcgmBlank is the least of the values that DCGM gives for "not available".
const dcgmBlank = 0x7ffffff0

// readExporter reads what an exporter says of a replica's GPUs: the mean of their
// utilization and the sum of their memory.
//
// An exporter on the node (a port of its own) speaks of all GPUs there, of which
// only the replica's devices count. What a replica says on its own port is about
// itself, unless it names its devices among others.
func readExporter(body []byte, by policies.GPU, devices []string) jobs.GPU {
	names := []string{dcgmUtilization, dcgmActive}
	if by.Query != "" {
		names = []string{by.Query}
	}
	families, err := readFamilies(body, append(names, dcgmUsed, dcgmFree, dcgmReserved, dcgmTotal))
	if err != nil {
		return jobs.GPU{Why: err.Error()}
	}
	if by.Query == "" {
		names = slices.DeleteFunc(names, func(name string) bool { return families[name] == nil })
	}
	e := exposition{families: families, node: by.Port != 0, devices: devices}
	g := jobs.GPU{}
	if len(names) == 0 {
		g.Why = "its /metrics has neither " + dcgmUtilization + " nor " + dcgmActive
	}
	for _, name := range names {
		values, why := e.values(name)
		if why == "" {
			g.Utilization, g.Why = figure(percentage(name, values)), ""
			break
		}
		if g.Why == "" { // the first choice's reason is the one to know
			g.Why = why
		}
	}
	g.MemoryUsed = e.bytes(dcgmUsed)
	if g.MemoryTotal = e.bytes(dcgmTotal); g.MemoryTotal == nil {
		if free := e.bytes(dcgmFree); free != nil && g.MemoryUsed != nil {
			total := *g.MemoryUsed + *free
			if reserved := e.bytes(dcgmReserved); reserved != nil {
				total += *reserved
			}
			g.MemoryTotal = &total
		}
	}
	return g
}

// readFamilies parses the named metrics and skips all others: an engine exposes
// thousands of lines, and one of them that is malformed is none of our business.
func readFamilies(body []byte, names []string) (map[string]*dto.MetricFamily, error) {
	var wanted bytes.Buffer
	for line := range bytes.Lines(body) {
		rest := bytes.TrimLeft(line, " \t")
		if after, typed := bytes.CutPrefix(rest, []byte("# TYPE ")); typed {
			rest = after
		}
		end := bytes.IndexAny(rest, "{ \t")
		if end > 0 && slices.Contains(names, string(rest[:end])) {
			wanted.Write(line)
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&wanted)
	if err != nil {
		return nil, fmt.Errorf("its /metrics cannot be read: %w", err)
	}
	return families, nil
}

// exposition is what an exporter says, and of which devices it is wanted.
type exposition struct {
	families map[string]*dto.MetricFamily
	node     bool // of a whole node
	devices  []string
}

// values returns the samples of a metric that are about the replica, one for each
// of its GPUs, or why there are none. One that is not a figure makes the whole
// unknown: a mean over the others would be about other hardware.
func (e *exposition) values(name string) (values []float64, why string) {
	samples := e.families[name].GetMetric()
	if len(samples) == 0 {
		return nil, "its /metrics has no " + name
	}
	if samples, why = e.own(name, samples); why != "" {
		return nil, why
	}
	for _, m := range samples {
		var v float64
		switch {
		case m.Gauge != nil:
			v = m.Gauge.GetValue()
		case m.Untyped != nil:
			v = m.Untyped.GetValue()
		default:
			return nil, name + " is not a gauge"
		}
		if !(v >= 0 && v < dcgmBlank) { // NaN is not
			return nil, fmt.Sprintf("%s is %v", name, v)
		}
		values = append(values, v)
	}
	return values, ""
}

// own picks the samples of the replica's devices.
func (e *exposition) own(name string, samples []*dto.Metric) (own []*dto.Metric, why string) {
	named := slices.ContainsFunc(samples, func(m *dto.Metric) bool { return slices.Contains(e.devices, deviceOf(m)) })
	switch {
	case !e.node && !named:
		return samples, ""
	case len(e.devices) == 0 && len(samples) > 1:
		return nil, fmt.Sprintf("%s has %d samples, and which of its node's GPUs the replica holds is not known", name, len(samples))
	case len(e.devices) == 0 && label(samples[0], "GPU_I_ID") != "":
		return nil, name + " is of one MIG instance, and whether the replica holds that one is not known"
	case len(e.devices) == 0:
		return samples, ""
	}
	for _, id := range e.devices {
		n := len(own)
		for _, m := range samples {
			if deviceOf(m) == id {
				own = append(own, m)
			}
		}
		switch {
		case len(own) == n && strings.HasPrefix(id, "MIG-"):
			return nil, fmt.Sprintf("%s has no sample of %s: exporters name a MIG instance by the GPU that it is part of", name, id)
		case len(own) == n:
			return nil, fmt.Sprintf("%s has no sample of %s", name, id)
		case len(own) > n+1:
			return nil, fmt.Sprintf("%s has %d samples of %s", name, len(own)-n, id)
		}
	}
	return own, ""
}

// bytes adds up a metric in MiB, nil if that is unknown.
func (e *exposition) bytes(name string) *float64 {
	values, why := e.values(name)
	if why != "" {
		return nil
	}
	total := 0.0
	for _, v := range values {
		total += v * (1 << 20)
	}
	return &total
}

// deviceOf is the id of the device that a sample is about, "" if it names none.
// Samples of a MIG instance bear the id of the whole GPU, which is not theirs.
func deviceOf(m *dto.Metric) string {
	id := label(m, "UUID")
	if id == "" {
		id = label(m, "gpu_uuid")
	}
	if label(m, "GPU_I_ID") != "" && !strings.HasPrefix(id, "MIG-") {
		return ""
	}
	return id
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// percentage is the mean of the values in percent.
func percentage(name string, values []float64) float64 {
	sum, most := 0.0, math.Inf(-1)
	for _, v := range values {
		sum += v
		most = max(most, v)
	}
	mean := sum / float64(len(values))
	if most <= 1 && isShare(name) {
		mean *= 100
	}
	return mean
}

// isShare reports whether a metric of that name has 1 for all of it.
func isShare(name string) bool {
	return strings.HasSuffix(name, "_perc") || strings.HasSuffix(name, "_ratio") ||
		strings.HasPrefix(name, "DCGM_FI_PROF_") && strings.HasSuffix(name, "_ACTIVE") ||
		name == "nv_gpu_utilization" // of Triton
}
