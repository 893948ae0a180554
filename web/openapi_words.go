package web

import (
	"maps"
	"slices"

	"github.com/pilotlight/pilotlight/jobs"
)

// fieldWords say in openapi.json what the fields of a service mean, by schema and
// field; recordWords those of everything else. A test wants them for every field.
var fieldWords = map[string]map[string]string{
	"ServiceInfo": {
		"name":                    "the service, which is the name of its policy",
		"state":                   "zero: none wanted, none there; waking: wanted, none ready; ready: at least one is; draining: none wanted, some not gone yet; blocked: wanted, and blocked_reason says why none comes; paused: by an operator, or because the job was stopped in Nomad or is pinned to 0",
		"replicas":                "by phase, and each of them",
		"demand":                  "requests now",
		"qps":                     "arrivals per second, mean over 10 s",
		"error_ratio":             "of the requests that left their slots in the last minute, those that failed (5xx, or given up), 0 to 1; null: none has",
		"latency_ms":              "time in the replica, over the last minute, without the hold",
		"gpu_utilization_percent": "mean of the ready replicas of which it is known",
		"gpu_memory_used_bytes":   "sum over the ready replicas; null unless it is known of all",
		"gpu_unknown_reason":      "why gpu_utilization_percent is null although a replica is ready, in a sentence",
		"oldest_hold_s":           "how long the oldest held request has waited",
		"cold_start_s":            "of the last 50 that succeeded",
		"eta_s":                   "until a replica is ready, while waking; null: unknown, as without a past start, or while none can be placed",
		"coming":                  "the replicas on their way, those expected first first",
		"start_s":                 "how long a whole start takes, from the decision until its probe answers, by past ones; null: none was seen",
		"service_s":               "mean time of a request in a slot; null: fewer than five were seen",
		"blocked_reason":          "what keeps the service from having the replicas that it should have, in a sentence; also while some are ready",
		"blocked_until":           "when a start is tried next; null: nothing but blocked_reason holds one back",
		"policy_version":          "version of the policy that is acted on",
		"reason":                  "of the last decision, in a sentence",
		"last_demand":             "when anybody asked for the service last",
		"paused_reason":           "by whom and why an operator has paused it, in a sentence, also while replicas are ready; null: nobody has",
		"paused_at":               "when an operator paused it; null: nobody has, or so many commands ago that it is not known",
		"pinned":                  "the count that an operator, or a change by hand in Nomad, holds; null: the policy decides",
		"pinned_until":            "until when a count set by hand is held; null: until it is unpinned",
		"fleet_at":                "when the fleet (Nomad) last answered with the present: how old the picture of the replicas is",
		"notices":                 "what an operator should know and what passes, newest first",
		"at":                      "when this was true; null: the scaler has not reported yet",
		"stale":                   "the scaler should have reported since, and has not",
	},
	"Notice": {
		"kind":   "changed-by-hand: somebody set the count in Nomad itself; deployed: somebody registered the job again; deployment: one is active and refuses scales; stopped: somebody stopped or purged the job; node-draining: nodes under replicas are being drained; drift: the registered job is not the job spec; metric-unknown: a metric of the policy cannot be read; metric-warned: Prometheus warns of a query of the policy, whose value is used; fleet-silent: the fleet is not heard",
		"text":   "a sentence",
		"detail": "lines, such as the differences of a drift; absent: none",
		"since":  "since when it is so, or when it happened",
	},
	"Replica": {
		"id":                      "of its allocation",
		"region":                  "of its fleet",
		"node":                    "name of its node; empty until it is placed",
		"address":                 "host:port where it answers; empty until known",
		"index":                   "of its allocation within the job's group; the highest are stopped first",
		"phase":                   "pending: no address yet; starting: its probe does not answer yet; ready; draining: no new requests; gone",
		"since":                   "of the phase",
		"started_at":              "when it was asked for",
		"slots":                   "requests that it may have at once",
		"in_flight":               "slots that are out",
		"gpu_utilization_percent": "mean over its devices",
		"gpu_memory_used_bytes":   "sum over its devices",
		"gpu_memory_total_bytes":  "sum over its devices",
		"gpu_unknown_reason":      "why a figure of a ready replica is null, in a sentence; absent: none is",
		"progress":                "what its node does before its task runs, in the fleet's words; absent: nothing that is told",
		"failure":                 "the last words of its task; absent: it has not failed",
	},
	"ReplicaCounts": {
		"wanted": "by the last decision", "pending": "asked for, no address yet", "starting": "placed, not answering yet",
		"ready": "answering", "draining": "finishing, without new requests", "list": "each of them, by index",
	},
	"DemandCounts": {"in_flight": "at a replica", "held": "waiting for a slot", "async": "to be answered later"},
	"Quantiles":    {"p50": "milliseconds", "p95": "milliseconds", "p99": "milliseconds"},
	"Coming": {
		"phase": "of its cold start: place, pull, start or load", "slots": "requests that it will take at once",
		"left_s": "until its probe answers, by past starts that lasted as long; null: unknown",
	},
	"Estimate": {"p10": "seconds; one time of ten it is less", "p50": "seconds; half of the times it is less",
		"p90": "seconds; nine times of ten it is less", "seen": "past starts that it rests on"},
	"ColdStartStats": {"p50": "seconds", "p90": "seconds", "last": "seconds", "count": "how many they are over"},
}

// fieldValues are all that a field of text may be, by schema and field.
var fieldValues = map[string]map[string][]string{
	"ServiceInfo": {"state": {jobs.StateZero, jobs.StateWaking, jobs.StateReady, jobs.StateDraining, jobs.StateBlocked, jobs.StatePaused}},
	"RequestInfo": {"state": requestStates},
	"Notice":      {"kind": slices.Sorted(maps.Keys(noticeKinds))},
	"Replica":     {"phase": {string(jobs.Pending), string(jobs.Starting), string(jobs.Ready), string(jobs.Draining), string(jobs.Gone)}},
}

// explained adds to a field's schema what is known of it.
func explained(schema any, in, field string) any {
	words, values := fieldWords[in][field], fieldValues[in][field]
	if words == "" {
		words = recordWords[in][field]
	}
	if words == "" && values == nil {
		return schema
	}
	out := maps.Clone(schema.(map[string]any))
	if words != "" {
		out["description"] = words
	}
	if values != nil {
		out["enum"] = values
	}
	return out
}
