package redisdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Facts is what one Redis server says of itself, as far as Pilotlight depends
// on it. What it does not tell (a managed Redis may refuse CONFIG) is unknown:
// nil, or "" for texts.
type Facts struct {
	Address   string        // as the client reaches it
	Version   string        // "7.0.15"; of Valkey the Redis that it is compatible with
	Replica   bool          // it is a replica: nothing can be written
	RoundTrip time.Duration // of one command, the least of several
	Ahead     time.Duration // its clock before ours, ± RoundTrip/2; negative: behind

	AppendOnly  *bool
	AppendFsync string // always, everysec, no
	AppendError string // what the last write of the append-only file ended with, "" if well
	Snapshots   *bool  // it saves snapshots by itself

	Memory          int64 // bytes used
	MaxMemory       int64 // bytes, 0: no limit
	MaxMemoryPolicy string

	Replicas       int // connected to it
	MinReplicas    *int
	WriteError     error // of a script that writes, reads the clock and publishes; nil if it may
	SubscribeError error // of a subscription; nil if it may
}

// Checkup examines the server behind client, or every master of a cluster. It
// writes one key of its own that expires within a second. The error is that of
// a server that does not answer.
func Checkup(ctx context.Context, client redis.UniversalClient) ([]Facts, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		f, err := examine(ctx, client, addressOf(client))
		return []Facts{f}, err
	}
	var mu sync.Mutex
	var all []Facts
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		f, err := examine(ctx, c, c.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, f)
		return err
	})
	slices.SortFunc(all, func(a, b Facts) int { return strings.Compare(a.Address, b.Address) })
	return all, err
}

func addressOf(client redis.UniversalClient) string {
	if c, ok := client.(*redis.Client); ok {
		return c.Options().Addr
	}
	return ""
}

// rounds of which the quickest tells the way there and back.
const rounds = 5

func examine(ctx context.Context, c redis.Cmdable, address string) (Facts, error) {
	f := Facts{Address: address}
	for i := range rounds {
		before := time.Now()
		there, err := c.Time(ctx).Result()
		if err != nil {
			return f, fmt.Errorf("redis %s: %w", address, err)
		}
		took := time.Since(before)
		if i == 0 || took < f.RoundTrip {
			f.RoundTrip, f.Ahead = took, there.Sub(before.Add(took/2))
		}
	}
	info := map[string]string{}
	for _, section := range []string{"server", "persistence", "memory", "replication"} {
		text, err := c.Info(ctx, section).Result()
		if err != nil {
			continue // not told; what depends on it stays unknown
		}
		readInfo(info, text)
	}
	f.fromInfo(info)
	config := func(name string) (string, bool) {
		got, err := c.ConfigGet(ctx, name).Result()
		v, ok := got[name]
		return v, err == nil && ok
	}
	f.fromConfig(config)
	f.WriteError = tryWrite(ctx, c, address)
	f.SubscribeError = trySubscribe(ctx, c)
	return f, ctx.Err()
}

// readInfo reads the lines name:value of an answer to INFO.
func readInfo(into map[string]string, text string) {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(name, "#") {
			into[name] = value
		}
	}
}

func (f *Facts) fromInfo(info map[string]string) {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(info[name], 10, 64)
		return n
	}
	f.Version = info["redis_version"]
	f.Replica = info["role"] == "slave"
	if on, told := info["aof_enabled"]; told {
		f.AppendOnly = new(on == "1")
	}
	if status := info["aof_last_write_status"]; status != "ok" {
		f.AppendError = status
	}
	f.Memory, f.MaxMemory, f.MaxMemoryPolicy = number("used_memory"), number("maxmemory"), info["maxmemory_policy"]
	f.Replicas = int(number("connected_slaves"))
}

func (f *Facts) fromConfig(get func(name string) (value string, told bool)) {
	if v, told := get("appendonly"); told {
		f.AppendOnly = new(v == "yes")
	}
	if v, told := get("appendfsync"); told {
		f.AppendFsync = v
	}
	if v, told := get("save"); told {
		f.Snapshots = new(v != "")
	}
	if v, told := get("maxmemory-policy"); told {
		f.MaxMemoryPolicy = v
	}
	if v, told := get("min-replicas-to-write"); told {
		if n, err := strconv.Atoi(v); err == nil {
			f.MinReplicas = &n
		}
	}
}

// written is what the queue's scripts do: read the server's clock, then write
// by what it says, then tell others.
var written = redis.NewScript(`
local now = redis.call('TIME')
redis.call('SET', KEYS[1], now[1], 'PX', 1000)
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], 'checkup')
return now[1]`)

const checkupChannel = "pl:checkup"

func tryWrite(ctx context.Context, c redis.Cmdable, address string) error {
	// Of a cluster each master has other slots: a key of this one is looked for.
	for range 1000 {
		err := written.Run(ctx, c, []string{"pl:checkup:" + rand.Text()}, checkupChannel).Err()
		if err != nil && strings.HasPrefix(err.Error(), "MOVED") {
			continue
		}
		return err
	}
	return fmt.Errorf("redis %s has no slots of its own", address)
}

// trySubscribe of a client that cannot subscribe tells nothing.
func trySubscribe(ctx context.Context, c redis.Cmdable) error {
	s, ok := c.(interface {
		Subscribe(ctx context.Context, channels ...string) *redis.PubSub
	})
	if !ok {
		return nil
	}
	sub := s.Subscribe(ctx, checkupChannel)
	defer func() { _ = sub.Close() }()
	_, err := sub.ReceiveTimeout(ctx, callTimeout)
	return err
}

// Keeps says how much of what a Redis acknowledged outlives its end.
type Keeps int

// What it keeps, worst first.
const (
	KeepsUnknown   Keeps = iota // it does not tell
	KeepsNothing                // no append-only file, no snapshots
	KeepsSnapshots              // what the last snapshot has
	KeepsLate                   // what the operating system has written: appendfsync no
	KeepsSeconds                // all but about the last 2 s: everysec
	KeepsAll                    // everything: always
)

// Keeps of this server.
func (f Facts) Keeps() Keeps {
	switch {
	case f.AppendOnly == nil:
		return KeepsUnknown
	case !*f.AppendOnly && f.Snapshots == nil:
		return KeepsUnknown
	case !*f.AppendOnly && !*f.Snapshots:
		return KeepsNothing
	case !*f.AppendOnly:
		return KeepsSnapshots
	}
	switch f.AppendFsync {
	case "always":
		return KeepsAll
	case "everysec":
		return KeepsSeconds
	case "no":
		return KeepsLate
	}
	return KeepsUnknown
}

// Promise says in a sentence what becomes of acknowledged requests and policies
// when this Redis ends. wait is how many of its replicas must have a durable
// request before it is accepted.
func (f Facts) Promise(wait int) string {
	var s string
	switch f.Keeps() {
	case KeepsAll:
		s = "append-only file with fsync always: nothing that was acknowledged is lost by any crash"
	case KeepsSeconds:
		s = "append-only file with fsync everysec: a crash loses up to about 2 s of acknowledged writes, an orderly restart none"
	case KeepsLate:
		s = "append-only file with fsync left to the operating system: a crash of the machine loses up to about 30 s of acknowledged writes, a crash of Redis alone none"
	case KeepsSnapshots:
		s = "snapshots only: a crash loses every request and every change of a policy since the last snapshot"
	case KeepsNothing:
		s = "no persistence: a restart loses every request, and every policy"
	case KeepsUnknown:
		s = "persistence is not known: this Redis does not tell its settings"
	}
	switch {
	case wait > 0:
		s += fmt.Sprintf("; a request with a key or without a connection is accepted once %d of its replicas (now %d) have it, so that a failover to one of those does not lose it", wait, f.Replicas)
	case f.Replicas > 0:
		s += "; a failover loses what was not replicated yet"
	}
	return s
}

// AppendOnlyText is the setting appendonly as Redis spells it, or "unknown".
func (f Facts) AppendOnlyText() string {
	switch {
	case f.AppendOnly == nil:
		return "unknown"
	case *f.AppendOnly:
		return "yes"
	}
	return "no"
}

// Evicts reports whether this Redis may drop keys when its memory is full.
func (f Facts) Evicts() bool { return f.MaxMemoryPolicy != "" && f.MaxMemoryPolicy != "noeviction" }

// ErrOldVersion says that a Redis lacks what the scripts need.
var ErrOldVersion = errors.New("scripts that read the clock before they write need Redis 5.0 or later")

// tested is the oldest version that the tests run on.
const tested = 7

// Suits judges the version: ErrOldVersion if the scripts cannot run on it; newEnough
// reports whether it is one that Pilotlight is tested with. An unknown version suits.
func (f Facts) Suits() (newEnough bool, err error) {
	major, convErr := strconv.Atoi(strings.SplitN(f.Version, ".", 2)[0])
	switch {
	case convErr != nil:
		return true, nil
	case major < 5:
		return false, ErrOldVersion
	}
	return major >= tested, nil
}
