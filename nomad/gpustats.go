package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// Names that the nvidia device plugin gives its measurements.
const (
	statUtilization = "GPU utilization"
	statMemory      = "Memory state"
)

// nodeStats is what one node's devices measure. why, if it is not "", says why
// nothing is known.
type nodeStats struct {
	devices map[string]deviceStats
	why     string
}

// deviceStats is what one device measured; a nil figure is unknown, for the reason
// in why.
type deviceStats struct {
	at                      time.Time
	utilization, used, size *float64 // percent, bytes, bytes
	why                     string
}

// askNode asks a node for its statistics. silent says that it did not answer in
// time.
func (f *Fleet) askNode(ctx context.Context, id, name string) (stats nodeStats, silent bool) {
	var answer struct {
		Timestamp   int64 // ns, by the node's clock, of this collection
		DeviceStats []*api.DeviceGroupStats
	}
	ctx, cancel := context.WithTimeout(ctx, gpuTimeout)
	defer cancel()
	select {
	case f.gpus.turns <- struct{}{}:
		defer func() { <-f.gpus.turns }()
	case <-ctx.Done():
		return nodeStats{why: fmt.Sprintf("node %s could not be asked in time: too many others do not answer", name)}, false
	}
	path := "/v1/client/stats?node_id=" + url.QueryEscape(id)
	_, err := f.client.Raw().Query(path, &answer, (&api.QueryOptions{}).WithContext(ctx))
	now := time.Now()
	status, body := answered(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nodeStats{why: fmt.Sprintf("node %s did not answer within %v", name, gpuTimeout)}, true
	case status == http.StatusForbidden:
		return nodeStats{why: `the token may not read node statistics: it needs node { policy = "read" }`}, true
	case status == http.StatusNotFound:
		return nodeStats{why: fmt.Sprintf("node %s cannot be asked: %s", name, clean(body, maxWords))}, true
	case err != nil:
		return nodeStats{why: fmt.Sprintf("node %s cannot be asked: %s", name, clean(err.Error(), maxWords))}, true
	case answer.Timestamp == 0:
		return nodeStats{why: fmt.Sprintf("node %s has not collected statistics yet", name)}, false
	case len(answer.DeviceStats) == 0:
		return nodeStats{why: fmt.Sprintf("node %s has no device statistics: its device plugin gives none", name)}, false
	}
	collected := time.Unix(0, answer.Timestamp)
	switch off := collected.Sub(now); {
	case off < -gpuStale:
		return nodeStats{why: fmt.Sprintf("node %s collected its statistics %v ago, or its clock is slow by that", name, -off.Round(time.Second))}, false
	case off > gpuStale:
		return nodeStats{why: fmt.Sprintf("the clock of node %s is fast by %v: its statistics cannot be dated", name, off.Round(time.Second))}, false
	}
	stats.devices = make(map[string]deviceStats)
	for _, group := range whole(answer.DeviceStats) {
		for id, d := range group.InstanceStats {
			stats.devices[id] = readDevice(d, collected)
		}
	}
	return stats, false
}

// readDevice reads one device's figures. Both times are by the node's clock.
func readDevice(d *api.DeviceStats, collected time.Time) deviceStats {
	if d == nil || d.Timestamp.IsZero() || d.Timestamp.Unix() <= 0 {
		return deviceStats{why: "was never measured"}
	}
	if age := collected.Sub(d.Timestamp); age > gpuStale {
		return deviceStats{why: fmt.Sprintf("was last measured %v ago", age.Round(time.Second))}
	}
	s := deviceStats{at: d.Timestamp}
	if d.Stats == nil {
		s.why = "gives no figures"
		return s
	}
	if v := d.Stats.Attributes[statUtilization]; v == nil {
		s.why = "gives no " + statUtilization
	} else if n, _, ok := figures(v); !ok || v.Unit != "%" {
		s.why = fmt.Sprintf("gives %s as %q", statUtilization, said(v))
	} else {
		s.utilization = &n
	}
	if v := d.Stats.Attributes[statMemory]; v == nil {
		s.also("gives no " + statMemory)
	} else if used, size, ok := figures(v); !ok || size == 0 || bytesOf(v.Unit) == 0 {
		s.also(fmt.Sprintf("gives %s as %q", statMemory, said(v)))
	} else {
		used, size = used*bytesOf(v.Unit), size*bytesOf(v.Unit)
		s.used, s.size = &used, &size
	}
	return s
}

func (s *deviceStats) also(why string) {
	if s.why != "" {
		s.why += " and "
	}
	s.why += why
}

// figures returns a value, and what it is a fraction of, if it is one.
func figures(v *api.StatValue) (n, of float64, ok bool) {
	switch {
	case v.IntNumeratorVal != nil:
		return float64(*v.IntNumeratorVal), float64(deref(v.IntDenominatorVal)), true
	case v.FloatNumeratorVal != nil:
		return *v.FloatNumeratorVal, deref(v.FloatDenominatorVal), true
	}
	return 0, 0, false
}

// said is what a value without a usable figure says instead, such as N/A.
func said(v *api.StatValue) string {
	if v.StringVal != nil {
		return clean(*v.StringVal, maxWords)
	}
	return clean(v.String(), maxWords)
}

func bytesOf(unit string) float64 {
	switch unit {
	case "B":
		return 1
	case "KiB":
		return 1 << 10
	case "MiB":
		return 1 << 20
	case "GiB":
		return 1 << 30
	case "MB":
		return 1e6
	case "GB":
		return 1e9
	}
	return 0
}

// of puts together what the devices of one allocation measured: utilization as
// their mean, memory as their sum. One that is unknown makes the figure unknown.
func (n nodeStats) of(devices []string) jobs.GPU {
	if n.why != "" {
		return jobs.GPU{Why: n.why}
	}
	var (
		gpu                     jobs.GPU
		whys                    []string
		utilization, used, size float64
		haveUtilization         = true
		haveMemory              = true
	)
	for _, id := range devices {
		d, ok := n.devices[id]
		if !ok {
			d.why = notMeasured(id)
		}
		if d.why != "" {
			whys = append(whys, id+" "+d.why)
		}
		if gpu.At.IsZero() || !d.at.IsZero() && d.at.Before(gpu.At) {
			gpu.At = d.at
		}
		if d.utilization != nil {
			utilization += *d.utilization / float64(len(devices))
		}
		if d.used != nil {
			used, size = used+*d.used, size+*d.size
		}
		haveUtilization = haveUtilization && d.utilization != nil
		haveMemory = haveMemory && d.used != nil
	}
	if haveUtilization {
		gpu.Utilization = &utilization
	}
	if haveMemory {
		gpu.MemoryUsed, gpu.MemoryTotal = &used, &size
	}
	gpu.Why = strings.Join(whys, "; ")
	return gpu
}

// notMeasured says why a device that is held is not among those that are
// measured.
func notMeasured(id string) string {
	if strings.HasPrefix(id, "MIG-") {
		return "is a MIG instance, of which Nomad measures nothing: take the figures from the replica's own metrics or from Prometheus"
	}
	return "is not among the devices that its node measures"
}
