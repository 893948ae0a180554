package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// Statuses returns how every service stands, as last published, by name. One at
// rest is as of the scaler's last beat: it is published again only when it
// changes.
func (h *History) Statuses(ctx context.Context) ([]jobs.Status, error) {
	texts, err := h.client.HGetAll(ctx, statusesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	var alive beat
	if text, beats := texts[beatField]; beats {
		delete(texts, beatField)
		if err := json.Unmarshal([]byte(text), &alive); err != nil {
			return nil, fmt.Errorf("decode the scaler's beat: %w", err)
		}
	}
	statuses := make([]jobs.Status, 0, len(texts))
	for service, text := range texts {
		var status jobs.Status
		if err := json.Unmarshal([]byte(text), &status); err != nil {
			return nil, fmt.Errorf("decode status of %s: %w", service, err)
		}
		if AtRest(status) && !status.At.Before(alive.Since) && status.At.Before(alive.At) {
			if heard := status.FleetAt; heard != nil && !fleetSilent(status) {
				at := heard.Add(alive.At.Sub(status.At))
				status.FleetAt = &at
			}
			status.At = alive.At
		}
		statuses = append(statuses, status)
	}
	slices.SortFunc(statuses, func(a, b jobs.Status) int { return strings.Compare(a.Name, b.Name) })
	return statuses, nil
}

// AtRest reports whether nothing is going on in a service that stands so.
func AtRest(st jobs.Status) bool {
	return st.Replicas.Wanted == 0 && len(st.Replicas.List) == 0 && st.Replicas.Pending == 0 &&
		st.Demand.Held == 0 && st.Demand.InFlight == 0 && st.Demand.Async == 0
}

// fleetSilent reports whether it was published that the fleet is not heard.
func fleetSilent(st jobs.Status) bool {
	return slices.ContainsFunc(st.Notices, func(n jobs.Notice) bool { return n.Kind == jobs.NoticeFleetSilent })
}

// ColdStarts returns the newest cold starts first, at most limit of them (0: all
// that are kept); service "" is all services.
func (h *History) ColdStarts(ctx context.Context, service string, limit int) ([]jobs.ColdStart, error) {
	from := coldStartsKey
	if service != "" {
		from = key(service, "coldstarts")
	}
	return newest[jobs.ColdStart](ctx, h.client, from, limit)
}

// Decisions returns the newest decisions first, at most limit of them (0: all
// that are kept); service "" is all services.
func (h *History) Decisions(ctx context.Context, service string, limit int) ([]decide.Decision, error) {
	from := decisionsKey
	if service != "" {
		from = key(service, "decisions")
	}
	return newest[decide.Decision](ctx, h.client, from, limit)
}

// Timeline returns the last points of a service, oldest first, at most limit of
// them (0: all that are kept). A gap between two points means that nothing
// changed and everything was zero.
func (h *History) Timeline(ctx context.Context, service string, limit int) ([]jobs.Point, error) {
	points, err := newest[jobs.Point](ctx, h.client, key(service, "points"), limit)
	slices.Reverse(points)
	return points, err
}

// Memory returns what the scaler last stored for itself of a service, nil if
// nothing.
func (h *History) Memory(ctx context.Context, service string) ([]byte, error) {
	memory, err := h.client.Get(ctx, key(service, "scaler")).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the scaler's memory of %s: %w", service, err)
	}
	return memory, nil
}

// newest reads a sorted set from its end. A member that this version cannot
// decode is an error: showing a shorter history would be a lie.
func newest[T any](ctx context.Context, client redis.UniversalClient, key string, limit int) ([]T, error) {
	texts, err := client.ZRevRange(ctx, key, 0, int64(limit)-1).Result()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	items := make([]T, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &items[i]); err != nil {
			return nil, fmt.Errorf("decode an item of %s: %w", key, err)
		}
	}
	return items, nil
}
