package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// How much is kept.
const (
	keepDecisions     = 1000 // per service
	keepAllDecisions  = 5000
	keepColdStarts    = 1000 // per service
	keepAllColdStarts = 10000
	keepPoints        = 2 * time.Hour
)

// Topics of Changes.
const (
	TopicStatus    = "status"
	TopicDecision  = "decision"
	TopicColdStart = "coldstart"
	TopicPolicy    = "policy"
	TopicPoint     = "point"
)

const (
	statusesKey    = "pl:statuses"
	decisionsKey   = "pl:decisions"
	coldStartsKey  = "pl:coldstarts"
	changesChannel = "pl:changes"
	operateChannel = "pl:operate"
)

func key(service, what string) string { return "pl:{" + service + "}:" + what }

// History is what the scaler writes and everybody reads.
type History struct {
	client redis.UniversalClient
}

// New returns a History over client. It holds no state and no connection of its
// own besides those of Changes and Operated.
func New(client redis.UniversalClient) *History {
	return &History{client: client}
}

// Entry is what happened to one service since the last Write; empty fields are
// not written.
type Entry struct {
	Service    string
	Status     *jobs.Status
	Points     []jobs.Point
	Decisions  []decide.Decision
	ColdStarts []jobs.ColdStart
	Memory     []byte // the scaler's, opaque
	Recorded   []RecordedHour
	Shadow     *ShadowEntry
	Epoch      int64 // of the scaler that writes
}

// Write stores e and announces it, in two round trips. Writing the same entry
// again changes nothing. Error: a *FencedError if a later scaler has claimed the
// service: then nothing is told of what a scaler of the past believes, and memory
// and records are left alone even if that one came in between; or the client's.
func (h *History) Write(ctx context.Context, e Entry) error {
	if err := h.writeGuarded(ctx, &e); err != nil {
		return err
	}
	pipe := h.client.Pipeline()
	var topics []string
	if e.Status != nil {
		text, err := json.Marshal(e.Status)
		if err != nil {
			return fmt.Errorf("encode status of %s: %w", e.Service, err)
		}
		pipe.HSet(ctx, statusesKey, e.Service, text)
		topics = append(topics, TopicStatus)
	}
	if len(e.Points) > 0 {
		members, err := encode(e.Points, func(p jobs.Point) time.Time { return p.At })
		if err != nil {
			return fmt.Errorf("encode points of %s: %w", e.Service, err)
		}
		before := e.Points[len(e.Points)-1].At.Add(-keepPoints).UnixMilli()
		pipe.ZAdd(ctx, key(e.Service, "points"), members...)
		pipe.ZRemRangeByScore(ctx, key(e.Service, "points"), "-inf", strconv.FormatInt(before, 10))
		topics = append(topics, TopicPoint)
	}
	if len(e.Decisions) > 0 {
		members, err := encode(e.Decisions, func(d decide.Decision) time.Time { return d.At })
		if err != nil {
			return fmt.Errorf("encode decisions of %s: %w", e.Service, err)
		}
		add(ctx, pipe, key(e.Service, "decisions"), keepDecisions, members)
		add(ctx, pipe, decisionsKey, keepAllDecisions, members)
		topics = append(topics, TopicDecision)
	}
	if len(e.ColdStarts) > 0 {
		members, err := encode(e.ColdStarts, func(c jobs.ColdStart) time.Time { return c.StartedAt })
		if err != nil {
			return fmt.Errorf("encode cold starts of %s: %w", e.Service, err)
		}
		add(ctx, pipe, key(e.Service, "coldstarts"), keepColdStarts, members)
		add(ctx, pipe, coldStartsKey, keepAllColdStarts, members)
		topics = append(topics, TopicColdStart)
	}
	for _, topic := range topics {
		pipe.Publish(ctx, changesChannel, topic+" "+e.Service)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write history of %s: %w", e.Service, err)
	}
	return nil
}

// writeGuarded stores what is a scaler's own, if no later one has claimed the
// service; if there is nothing of that, it only finds out.
func (h *History) writeGuarded(ctx context.Context, e *Entry) error {
	pipe := h.client.Pipeline()
	var guarded []*redis.Cmd
	if e.Memory != nil {
		keys := []string{key(e.Service, "intent"), key(e.Service, "scaler")}
		guarded = append(guarded, remember.Eval(ctx, pipe, keys, e.Epoch, e.Memory))
	}
	for _, r := range e.Recorded {
		keys := []string{key(e.Service, "intent"), hourKey(e.Service, r.Start)}
		guarded = append(guarded, record.Eval(ctx, pipe, keys, e.Epoch, r.Data, int(KeepRecorded.Seconds())))
	}
	if e.Shadow != nil {
		cmd, err := writeShadow(ctx, pipe, e.Service, e.Epoch, e.Shadow)
		if err != nil {
			return err
		}
		guarded = append(guarded, cmd)
	}
	if len(guarded) == 0 {
		later, err := h.client.HGet(ctx, key(e.Service, "intent"), "epoch").Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read the epoch of %s: %w", e.Service, err)
		}
		if later > e.Epoch {
			return &FencedError{Service: e.Service, Epoch: later}
		}
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write history of %s: %w", e.Service, err)
	}
	for _, cmd := range guarded {
		if err := fenced(e.Service, cmd); err != nil {
			return err
		}
	}
	return nil
}

// Forget removes the status and the memory of a service that has no policy any
// more. Its decisions and cold starts stay.
func (h *History) Forget(ctx context.Context, service string) error {
	pipe := h.client.Pipeline()
	pipe.HDel(ctx, statusesKey, service)
	pipe.Del(ctx, key(service, "scaler"), key(service, "operator"), key(service, "points"),
		key(service, "shadow"), key(service, "shadow:steps"), key(service, "shadow:decisions"))
	pipe.HDel(ctx, key(service, "intent"), "intent")
	pipe.Expire(ctx, key(service, "intent"), keepEpoch) // a stale scaler must not bring it back
	pipe.Publish(ctx, changesChannel, TopicStatus+" "+service)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("forget %s: %w", service, err)
	}
	return nil
}

// beatField of the statuses is not a service's name.
const beatField = ""

// beat says that a scaler which has been publishing since then was alive at At.
type beat struct {
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
}

// Beat says that whatever the scaler has published since then of services at
// rest was still so now.
func (h *History) Beat(ctx context.Context, since, now time.Time) error {
	text, err := json.Marshal(beat{since.UTC(), now.UTC()})
	if err != nil {
		return fmt.Errorf("encode a beat: %w", err)
	}
	if err := h.client.HSet(ctx, statusesKey, beatField, text).Err(); err != nil {
		return fmt.Errorf("write a beat: %w", err)
	}
	return nil
}

// Announce tells the readers of Changes that something about a service changed
// which is not stored here.
func (h *History) Announce(ctx context.Context, topic, service string) error {
	if err := h.client.Publish(ctx, changesChannel, topic+" "+service).Err(); err != nil {
		return fmt.Errorf("announce %s of %s: %w", topic, service, err)
	}
	return nil
}

// add puts members into a sorted set and keeps the newest of them.
func add(ctx context.Context, pipe redis.Pipeliner, key string, keep int64, members []redis.Z) {
	pipe.ZAdd(ctx, key, members...)
	pipe.ZRemRangeByRank(ctx, key, 0, -keep-1)
}

// encode turns items, oldest first, into members scored by their time in
// milliseconds. Of one moment the order is kept by a thousandth more for each: a
// sorted set orders what has one score by its text.
func encode[T any](items []T, at func(T) time.Time) ([]redis.Z, error) {
	members := make([]redis.Z, 0, len(items))
	for i, item := range items {
		text, err := json.Marshal(item)
		if err != nil {
			return nil, err
		}
		members = append(members, redis.Z{Score: float64(at(item).UnixMilli()) + float64(min(i, 999))/1000, Member: text})
	}
	return members, nil
}
