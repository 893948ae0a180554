package policies

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/subscribe"
)

// Keys and channel of the Redis store. One hash tag, so that a Redis Cluster
// has them in one slot and a script may touch them all.
const (
	keyCurrent  = "pl:{policies}:current"   // hash: name → record of the newest version, deletions too
	keyVersions = "pl:{policies}:versions:" // + name; list of records, newest first
	keyCounter  = "pl:{policies}:counter"   // incremented by every change
	changedChan = "pl:{policies}:changed"   // the name that has changed
)

// record is a version as it is stored. Op makes it unique, so that a change
// which was sent twice is recognized.
type record struct {
	Version
	Op string `json:"op"`
}

// Redis is a Store on one server, Sentinel or Cluster, shared by any number of
// processes. Its guarantees are those of that Redis.
//
// Every change is one script that saves the new version only if nothing has
// changed since the caller looked, so that the rules of a change (base, routes
// of the other policies) hold over all processes.
type Redis struct {
	client redis.UniversalClient

	mu     sync.Mutex
	parsed map[string]Version // by name: the last version read, so that it is parsed once
}

// NewRedis returns the Store behind a client, which stays the caller's.
func NewRedis(client redis.UniversalClient) *Redis {
	return &Redis{client: client, parsed: map[string]Version{}}
}

var _ Store = (*Redis)(nil)

// List implements Store.
func (s *Redis) List(ctx context.Context) ([]Version, error) {
	_, current, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	return allLive(current)
}

// Get implements Store.
func (s *Redis) Get(ctx context.Context, name string) (Version, error) {
	raw, err := s.client.HGet(ctx, keyCurrent, name).Result()
	if errors.Is(err, redis.Nil) {
		return Version{}, ErrNotFound
	}
	if err != nil {
		return Version{}, fmt.Errorf("read policy %s: %w", name, err)
	}
	return live(map[string]Version{name: s.decode(name, raw)}, name)
}

// Put implements Store.
func (s *Redis) Put(ctx context.Context, name, text string, base int, author, comment string) (Version, error) {
	draft, err := newDraft(name, text, author, comment)
	if err != nil {
		return Version{}, err
	}
	return s.change(ctx, draft, base)
}

// Delete implements Store.
func (s *Redis) Delete(ctx context.Context, name string, base int, author, comment string) (Version, error) {
	return s.change(ctx, newTombstone(name, author, comment), base)
}

//go:embed change.lua
var changeLua string

// changeScript answers 1 if the record is saved, now or by an earlier call.
var changeScript = redis.NewScript(changeLua)

func (s *Redis) change(ctx context.Context, draft Version, base int) (Version, error) {
	op := rand.Text()
	for {
		counter, current, err := s.read(ctx)
		if err != nil {
			return Version{}, err
		}
		next, err := succeed(current, draft, base)
		if err != nil {
			return Version{}, err
		}
		raw, err := json.Marshal(record{Version: next, Op: op})
		if err != nil {
			return Version{}, fmt.Errorf("save policy %s: %w", next.Name, err)
		}
		keys := []string{keyCurrent, keyVersions + next.Name, keyCounter}
		kept := int64(0) // for ever
		if next.Deleted {
			kept = int64(keepRemoved / time.Second)
		}
		args := []any{next.Name, raw, counter, maxVersions, changedChan, kept}
		for _, name := range outdated(current, next) {
			keys, args = append(keys, keyVersions+name), append(args, name)
		}
		saved, err := changeScript.Run(ctx, s.client, keys, args...).Bool()
		if err != nil {
			return Version{}, fmt.Errorf("save policy %s: %w", next.Name, err)
		}
		if saved {
			return next, nil
		}
		// Some policy has changed in between: judge again. Whoever was faster has
		// got on, so this ends.
	}
}

// Versions implements Store.
func (s *Redis) Versions(ctx context.Context, name string) ([]Version, error) {
	raws, err := s.client.LRange(ctx, keyVersions+name, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read versions of policy %s: %w", name, err)
	}
	if len(raws) == 0 {
		return nil, ErrNotFound
	}
	history := make([]Version, len(raws))
	for i, raw := range raws {
		history[i] = decodeRecord(name, raw)
		history[i].parse()
	}
	return history, nil
}

// read returns the newest version of every policy, deleted ones too, and the
// counter at that moment.
func (s *Redis) read(ctx context.Context) (counter string, current map[string]Version, err error) {
	var count *redis.StringCmd
	var all *redis.MapStringStringCmd
	_, err = s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		count = p.Get(ctx, keyCounter)
		all = p.HGetAll(ctx, keyCurrent)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", nil, fmt.Errorf("read policies: %w", err)
	}
	current = make(map[string]Version, len(all.Val()))
	for name, raw := range all.Val() {
		current[name] = s.decode(name, raw)
	}
	s.forget(current)
	return count.Val(), current, nil // "" if there has been no change yet
}

// decode reads a record, with its policy parsed: at most once for each version.
func (s *Redis) decode(name, raw string) Version {
	v := decodeRecord(name, raw)
	if v.Deleted {
		return v
	}
	s.mu.Lock()
	known, ok := s.parsed[name]
	s.mu.Unlock()
	if ok && known.Text == v.Text {
		v.Policy = known.Policy
		return v
	}
	v.parse()
	s.mu.Lock()
	s.parsed[name] = v
	s.mu.Unlock()
	return v
}

// forget drops what is parsed of policies that are gone.
func (s *Redis) forget(current map[string]Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.parsed {
		if v, ok := current[name]; !ok || v.Deleted {
			delete(s.parsed, name)
		}
	}
}

// decodeRecord returns the version in a record; of a damaged one only the name.
func decodeRecord(name, raw string) Version {
	var r record
	if err := json.Unmarshal([]byte(raw), &r); err != nil || r.Version.Name != name {
		return Version{Name: name}
	}
	return r.Version
}

// parse sets Policy, or leaves it nil if the text is not valid.
func (v *Version) parse() {
	if !v.Deleted {
		v.Policy, _ = parseOne(v.Name, v.Text)
	}
}

const pollEvery = time.Second

// Watch implements Store. It hears of a change at once while it is connected;
// what it misses it finds by the counter, within a second. While Redis cannot
// be reached it goes on trying.
func (s *Redis) Watch(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	heard := make(chan struct{}, 1)
	note := func() {
		select {
		case heard <- struct{}{}:
		default: // it will be looked at in any case
		}
	}
	following.Go(func() {
		_ = subscribe.Follow(ctx, s.client, changedChan, nil, note, func(string) { note() })
	})
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()

	seen, known := s.counter(ctx)
	changed()
	for {
		tell := false
		select {
		case <-ctx.Done():
			return nil
		case <-heard: // after a connection, too: changes may have been missed before it
			tell = true
		case <-poll.C:
		}
		counter, ok := s.counter(ctx)
		if ok && (!known || counter != seen) {
			tell, seen = true, counter
		}
		known = ok
		if tell {
			changed()
		}
	}
}

// counter returns how many changes there have been; ok is false if Redis did
// not say.
func (s *Redis) counter(ctx context.Context) (count string, ok bool) {
	count, err := s.client.Get(ctx, keyCounter).Result()
	return count, err == nil || errors.Is(err, redis.Nil)
}
