package queue

import (
	"embed"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// The scripts of the protocol (doc.go). Each runs atomically on the keys of one
// service and may be repeated.
var (
	holdScript   = script("hold")
	settleScript = script("settle")
	offerScript  = script("offer")
	demandScript = script("demand")
	firstsScript = redis.NewScript(mustRead("firsts"))
)

func script(name string) *redis.Script {
	return redis.NewScript(mustRead("lib") + mustRead(name))
}

func mustRead(name string) string {
	b, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // embedded at build time
	}
	return string(b)
}

// Channels. Their messages only hasten what the next settle or tick would find.
const (
	demandChannel = "pl:demand" // payload: service
	slotsChannel  = "pl:slots"  // payload: "w service" (somebody waits) or "o service" (offers or grants changed)
)

// keysOf one service share a hash tag, so that they live on one node of a
// Redis Cluster and one script may touch them all.
func keysOf(service string) []string {
	p := "pl:{" + service + "}:"
	return []string{
		p + "offers",     // hash: replica → SlotOffer, written by the scaler
		p + "held",       // hash: replica|activator → owned|busy
		p + "grants",     // hash: ticket → replica|activator, until acknowledged
		p + "queue",      // zset: ticket by sequence number
		p + "deadlines",  // zset: ticket by deadline, ms
		p + "ledger",     // hash: seq, bytes, last, grace
		p + "activators", // hash: activator → last heard ms|number of its last statement
		p + "suspects",   // hash: replica → until ms
	}
}

func ticketPrefix(service string) string  { return "pl:{" + service + "}:ticket:" }
func firstsKey(service string) string     { return "pl:{" + service + "}:firsts" }
func countersKey(activator string) string { return "pl:counters:" + activator }

const activatorsKey = "pl:activators" // zset: activator by last publication, ms
