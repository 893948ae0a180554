package scaler

import (
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/pb/sketchpb"
	"google.golang.org/protobuf/proto"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// shown is the window of the latencies in a Status.
const shown = time.Minute

// Fewest completions behind a quantile that is shown; below, the tail is made
// of one or two requests.
const (
	fewestP50 = 10
	fewestP95 = 40
	fewestP99 = 200
)

// latencies are the completions of the last minute, for the Status. What the
// decision compares with its thresholds it keeps itself.
type latencies map[latencyKey]decide.LatencyItem

type latencyKey struct {
	activator string
	start     int64
}

// add takes items in; one with the same activator and start replaces the other.
func (l latencies) add(items []decide.LatencyItem) {
	for _, item := range items {
		l[keyOf(item)] = item
	}
}

func keyOf(item decide.LatencyItem) latencyKey {
	return latencyKey{item.Activator, item.Start.UnixNano()}
}

// quantiles merges what is left of the last minute; never a mean of quantiles.
func (l latencies) quantiles(now time.Time) jobs.Quantiles {
	var merged *ddsketch.DDSketch
	var count uint64
	for key, item := range l {
		if now.Sub(item.Start) > shown+jobs.LatencyBucketSpan {
			delete(l, key)
			continue
		}
		var pb sketchpb.DDSketch
		if proto.Unmarshal(item.Sketch, &pb) != nil || pb.Mapping == nil {
			continue
		}
		sketch, err := ddsketch.FromProto(&pb)
		if err != nil {
			continue
		}
		if merged == nil {
			merged = sketch
		} else if merged.MergeWith(sketch) != nil {
			continue
		}
		count += item.Count
	}
	var q jobs.Quantiles
	for _, f := range []struct {
		field    **float64
		quantile float64
		fewest   uint64
	}{{&q.P50, 0.5, fewestP50}, {&q.P95, 0.95, fewestP95}, {&q.P99, 0.99, fewestP99}} {
		if merged == nil || count < f.fewest {
			continue
		}
		if seconds, err := merged.GetValueAtQuantile(f.quantile); err == nil {
			*f.field = figure(seconds * 1000)
		}
	}
	return q
}
