package queue

import (
	"context"
	"embed"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// The scripts of the protocol (doc.go). Each runs atomically on the keys of one
// service and may be repeated. Those that touch slots know the whole ledger.
var (
	holdScript    = script("lib", "ledger", "hold")
	settleScript  = script("lib", "ledger", "settle")
	offerScript   = script("lib", "ledger", "offer")
	demandScript  = script("lib", "ledger", "demand")
	observeScript = script("lib", "ledger", "observe")
	submitScript  = script("lib", "ledger", "submit")
	againScript   = script("lib", "ledger", "again")
	runScript     = script("lib", "run")
	storeScript   = script("lib", "store")
	readScript    = script("lib", "read")
	cancelScript  = script("lib", "cancel")
	firstsScript  = script("firsts")
	unlistScript  = script("unlist")
	listScript    = script("lib", "list")
	greetScript   = script("greet")
)

func script(names ...string) *redis.Script {
	var b strings.Builder
	for _, name := range names {
		text, err := luaFiles.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // embedded at build time
		}
		b.Write(text)
	}
	return redis.NewScript(b.String())
}

// Channels. Their messages only hasten what the next settle, tick or look would
// find.
const (
	demandChannel  = "pl:demand"  // payload: service
	slotsChannel   = "pl:slots"   // payload: "w service" (somebody waits), "o service" (offers or grants changed) or "d service" (a durable ticket has lost its owner)
	answersChannel = "pl:answers" // payload: "service ticket" (a durable ticket or its answer changed), " cancel" behind it if it is to stop
)

// keysOf one service share a hash tag, so that they live on one node of a
// Redis Cluster and one script may touch them all. Beside these there are, of
// the same prefix, ticket:ID (hash), answer:ID (list of chunks), key:HASH (ticket
// of an idempotency key), mine:ACTIVATOR (set of its tickets) and kept (zset:
// final ticket|bytes by when it expires, ms); doc.go says when each expires.
func keysOf(service string) []string {
	p := prefix(service)
	return []string{
		p + "offers",      // hash: replica → SlotOffer, written by the scaler
		p + "held",        // hash: replica|activator → owned|busy|most busy since the statement before
		p + "grants",      // hash: ticket → replica|activator|ms|epoch (0 a connection's)|request timeout ms, until acknowledged
		queueKey(service), // zset: ticket by level and number
		p + "deadlines",   // zset: waiting ticket by the ms at which it is forgotten
		p + "ledger",      // hash: seq, bytes, durable, kept, passed, run, gen, born, life, last, grace, recover, blackout, offerer
		p + "activators",  // hash: activator → last heard ms|number of its last statement|ms that what it has in a slot may take|runs|address
		p + "suspects",    // hash: replica → until ms
		p + "quarantine",  // hash: replica|dead activator → slots|until ms|counted from ms|1 if its process is known to be gone
		p + "fenced",      // hash: activator that left or died → number of its last statement|until ms|1 if it died
		p + "orphans",     // set: names of sets of dead activators' tickets
	}
}

func prefix(service string) string        { return "pl:{" + service + "}:" }
func queueKey(service string) string      { return prefix(service) + "queue" }
func firstsKey(service string) string     { return prefix(service) + "firsts" }
func countersKey(activator string) string { return "pl:counters:" + activator }

// KeyOfQueue is the sorted set of a service's waiting tickets, for those who watch
// how many there are.
func KeyOfQueue(service string) string { return keysOf(service)[3] }

const (
	activatorsKey = "pl:activators" // zset: activator by last publication, ms
	peersKey      = "pl:peers"      // zset: activator|address by when it was last heard, ms
	durableKey    = "pl:durable"    // zset: service with durable tickets by the last one's time, ms
)

// argsOf a script: those that every script has, then its own.
func argsOf(service string, cfg *Config, gen int64, activator string, own ...any) []any {
	return append([]any{prefix(service), service, cfg.Lease.Milliseconds(), gen, activator}, own...)
}

// ErrStoreFull: Redis has no memory left (maxmemory) and takes nothing new. What
// is held already goes on.
var ErrStoreFull = errors.New("the store is full: Redis has reached its maxmemory")

// run calls a script; it tells a full store from one that is away.
func run(ctx context.Context, s *redis.Script, client redis.Scripter, service string, args []any) ([]any, error) {
	cmd := s.Run(ctx, client, keysOf(service), args...)
	v, err := cmd.Result()
	if err != nil {
		return nil, storeError(err)
	}
	if list, ok := v.([]any); ok {
		return list, nil
	}
	return []any{v}, nil
}

// storeError is ErrStoreFull if that is what Redis says, else err.
func storeError(err error) error {
	if strings.Contains(err.Error(), "OOM command not allowed") {
		return ErrStoreFull
	}
	return err
}
