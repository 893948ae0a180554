package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/policies"
)

// skewLimit is how far apart clocks may be. Deadlines of requests, schedules and
// the phases of cold starts are off by as much.
const skewLimit = time.Second

// checkRedis examines every server that holds data.
func (x *examination) checkRedis(ctx context.Context) []finding {
	if x.redis == nil {
		f := skipped("redis", "no Redis was named")
		f.Do = "give --redis to have it examined"
		return []finding{f}
	}
	facts, err := redisdb.Checkup(ctx, x.redis)
	if err != nil || len(facts) == 0 {
		return []finding{failed("redis", "check --redis, that Redis runs, and its password and users", "Redis does not answer: %v", err)}
	}
	x.answered, x.facts = true, facts
	var found []finding
	for _, f := range facts {
		found = append(found, judgeRedis(f, x.wait)...)
	}
	return found
}

func judgeRedis(f redisdb.Facts, wait int) []finding {
	at := "at " + f.Address
	return []finding{
		redisReached(f, at), redisWrites(f, at), redisPersistence(f, wait), redisMemory(f), redisReplication(f, wait), redisClock(f),
	}
}

func redisReached(f redisdb.Facts, at string) finding {
	newEnough, err := f.Suits()
	version := cmp.Or(f.Version, "unknown version")
	switch {
	case err != nil:
		return failed("redis", "upgrade Redis to 7.0 or later", "Redis %s %s: %v", version, at, err)
	case !newEnough:
		return warned("redis", "upgrade Redis to 7.0 or later", "Redis %s %s is older than the versions that Pilotlight is tested with", version, at)
	case f.RoundTrip > 5*time.Millisecond:
		return warned("redis", "run Redis near the activators: a held request asks it at least twice",
			"Redis %s answers %s in %s", version, at, brief(f.RoundTrip))
	}
	return passed("redis", "Redis %s answers %s in %s", version, at, brief(f.RoundTrip))
}

func redisWrites(f redisdb.Facts, at string) finding {
	const check = "redis-commands"
	switch {
	case f.Replica:
		return failed(check, "name the master, or Sentinel with redis+sentinel://", "Redis %s is a replica and takes no writes", at)
	case f.WriteError != nil:
		return failed(check, whatToDoAboutWrites(f.WriteError), "a script that writes was refused: %v", f.WriteError)
	case f.SubscribeError != nil:
		return failed(check, "allow the user the channels &pl:* and the command SUBSCRIBE", "a subscription was refused: %v", f.SubscribeError)
	}
	return passed(check, "scripts may read the clock, write and publish; subscriptions work")
}

// whatToDoAboutWrites by the word that Redis begins the error with.
func whatToDoAboutWrites(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	switch word {
	case "OOM":
		return "raise maxmemory, or find out what else is kept there"
	case "NOREPLICAS":
		return "bring back the replicas that min-replicas-to-write asks for, or lower it"
	case "MISCONF":
		return "see the log of Redis: it cannot write to its disk"
	case "NOPERM":
		return "allow the user the keys ~pl:*, the channels &pl:* and the commands +@all -@dangerous +info +config|get"
	}
	return "allow EVAL, EVALSHA, SET, DEL, TIME and PUBLISH"
}

func redisPersistence(f redisdb.Facts, wait int) finding {
	const check = "redis-persistence"
	const do = `set "appendonly yes" and "appendfsync everysec" (or always, if no accepted request may be lost) in redis.conf`
	if f.AppendError != "" {
		return failed(check, "see the log of Redis: its disk may be full", "the last write of the append-only file failed: %s", f.AppendError)
	}
	switch f.Keeps() {
	case redisdb.KeepsAll, redisdb.KeepsSeconds:
		return passed(check, "%s", f.Promise(wait))
	case redisdb.KeepsLate, redisdb.KeepsSnapshots:
		return warned(check, do, "%s", f.Promise(wait))
	case redisdb.KeepsNothing:
		return failed(check, do, "%s", f.Promise(wait))
	}
	return warned(check, "ask whoever runs it for its append-only file and fsync; doctor reads INFO and CONFIG GET", "%s", f.Promise(wait))
}

func redisMemory(f redisdb.Facts) finding {
	const check = "redis-memory"
	limit := "no limit"
	if f.MaxMemory > 0 {
		limit = fmt.Sprintf("of %s", mib(f.MaxMemory))
	}
	switch {
	case f.Evicts():
		return failed(check, "set maxmemory-policy noeviction; what else is kept there needs a Redis of its own",
			"maxmemory-policy is %s: when memory is full (%s used, %s) Redis drops keys, and with them held requests, slots and policies",
			f.MaxMemoryPolicy, mib(f.Memory), limit)
	case f.MaxMemoryPolicy == "":
		return warned(check, "make sure that maxmemory-policy is noeviction", "this Redis does not tell its maxmemory-policy")
	case f.MaxMemory > 0 && f.Memory > f.MaxMemory/10*8:
		return warned(check, "raise maxmemory: when it is full, new requests cannot be held", "%s %s used", mib(f.Memory), limit)
	}
	return passed(check, "nothing is evicted (%s used, %s)", mib(f.Memory), limit)
}

func redisReplication(f redisdb.Facts, wait int) finding {
	const check = "redis-replication"
	if f.Replicas < wait {
		return failed(check, "bring back the replicas of Redis, or lower --redis-wait-replicas",
			"%s connected, and --redis-wait-replicas asks for %d: every request with a key or without a connection is refused",
			count(f.Replicas, "replica"), wait)
	}
	if f.Replicas == 0 {
		return passed(check, "no replica: while this Redis is away, warm traffic goes on and requests that must be held wait or are refused")
	}
	if f.MinReplicas != nil && *f.MinReplicas == 0 {
		return warned(check, "set min-replicas-to-write 1, so that a master that was cut off takes no more requests",
			"%s; a master that is cut off from all of them goes on to accept writes, which a failover then loses", count(f.Replicas, "replica"))
	}
	if wait > 0 {
		return passed(check, "%s; --redis-wait-replicas %d: what is accepted is at so many of them first", count(f.Replicas, "replica"), wait)
	}
	return passed(check, "%s", count(f.Replicas, "replica"))
}

func redisClock(f redisdb.Facts) finding {
	const check = "redis-clock"
	if (f.Ahead.Abs() - f.RoundTrip/2) > skewLimit {
		return warned(check, "run NTP (chrony, systemd-timesyncd) on both machines", "Redis' clock is %s this machine's", apart(f.Ahead))
	}
	return passed(check, "Redis' clock is %s this machine's", apart(f.Ahead))
}

// checkPolicies takes those that were named, else those that Redis has.
func (x *examination) checkPolicies(ctx context.Context) []finding {
	const check = "policies"
	if len(x.policies) > 0 {
		return []finding{passed(check, "%s read", countPolicies(len(x.policies)))}
	}
	if !x.answered {
		f := skipped(check, "there are no policies to judge Nomad by")
		f.Do = "give --policies, or --redis that has some"
		return []finding{f}
	}
	versions, err := policies.NewRedis(x.redis).List(ctx)
	var unreadable *policies.UnreadableError
	if err != nil && !errors.As(err, &unreadable) {
		return []finding{failed(check, "see the finding on Redis", "the policies in Redis cannot be read: %v", err)}
	}
	for _, v := range versions {
		x.policies = append(x.policies, v.Policy)
	}
	var found []finding
	if unreadable != nil {
		f := failed(check, "pilotlight policy rollback NAME VERSION, or run the version of Pilotlight that wrote it",
			"%s in Redis that this version does not understand", countPolicies(len(unreadable.Versions)))
		for _, v := range unreadable.Versions {
			f.Details = append(f.Details, fmt.Sprintf("%s version %d", v.Name, v.Version))
		}
		found = append(found, f)
	}
	if len(x.policies) == 0 && unreadable == nil {
		return []finding{warned(check, "pilotlight policy apply -f DIR, or serve --policies DIR", "Redis has no policies: there is no service")}
	}
	return append(found, passed(check, "%s in Redis", countPolicies(len(x.policies))))
}

func countPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}

// logDurability says at start how much of what Redis acknowledges outlives it:
// that is how much of what is promised to callers holds. wait is
// --redis-wait-replicas.
func logDurability(ctx context.Context, client redis.UniversalClient, wait int, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	facts, err := redisdb.Checkup(ctx, client)
	if err != nil {
		log.Warn("Redis does not tell how it keeps what it is given", "err", err)
		return
	}
	for _, f := range facts {
		level := slog.LevelInfo
		if redisPersistence(f, wait).Result != resultOK {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, "Redis durability", "address", f.Address, "appendonly", f.AppendOnlyText(),
			"appendfsync", cmp.Or(f.AppendFsync, "unknown"), "replicas", f.Replicas, "wait_replicas", wait, "reason", f.Promise(wait))
		if f.Evicts() {
			log.Error("Redis may drop what it holds", "address", f.Address, "reason", redisMemory(f).Found)
		}
		if f.Replicas < wait {
			log.Error("Redis has too few replicas", "address", f.Address, "reason", redisReplication(f, wait).Found)
		}
	}
}

// brief is a duration in no more digits than it is worth.
func brief(d time.Duration) string {
	if d < time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

func mib(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }

// apart says how a clock stands to ours, for "… this machine's".
func apart(ahead time.Duration) string {
	switch {
	case ahead.Abs() < 10*time.Millisecond:
		return "within 10 ms of"
	case ahead < 0:
		return fmt.Sprintf("%s behind", ahead.Abs().Round(time.Millisecond))
	}
	return fmt.Sprintf("%s ahead of", ahead.Round(time.Millisecond))
}
