package web

// recordWords say in openapi.json what the fields of everything but a service
// mean, by schema and field. A test wants them for every field there is.
var recordWords = map[string]map[string]string{
	"ColdStart": {
		"id": "of the cold start", "service": "whose replica it is", "replica": "the one launched", "region": "of its fleet",
		"reason":     "of the decision that launched it, in a sentence",
		"started_at": "when the oldest held request came; if nobody waited, when it was decided",
		"phases":     "in order; place, start and load always among them", "requests_waiting": "held when it was launched",
		"outcome": "answered: it served a request; unused: it was gone before it served one; failed: it was never ready, though it was wanted",
		"dur_ms":  "milliseconds from started_at to the end of the last phase", "failure": "why it failed, in a sentence; absent: it did not",
	},
	"ColdStartPhase": {
		"name":     "decide: until the scale call; place: until the allocation has a node; pull: artifacts and image; start: until its process runs; load: until its probe answers; ready: until a request is sent to it; first_byte: until its answer begins",
		"start_ms": "milliseconds since the cold start began", "dur_ms": "milliseconds",
	},
	"Command": {
		"verb": "wake, sleep, pause, resume, pin or unpin", "replicas": "of pin: the count to hold", "reason": "as it was given",
		"by": "who gave it", "at": "when",
	},
	"CommandRequest": {"reason": "why, in a sentence; required and recorded"},
	"PinRequest":     {"replicas": "the count to hold, 0 and above; required", "reason": "why, in a sentence; required and recorded"},
	"Decision": {
		"service": "that it is about", "at": "when it was made", "from": "replicas wanted before", "to": "replicas wanted since",
		"rule":   "name of the step that decided, such as any-demand, load, backlog, threshold, to-zero, min, max, schedule, prewarm, pinned, paused, brake or by-hand",
		"reason": "a sentence with the numbers", "inputs": "figures on the way to it, by symbol, such as need, N_load, N_back, lambda (arrivals per second), S (seconds in a slot) and L50 (seconds of a cold start)",
		"signals": "what the policy's thresholds were compared with", "policy_version": "that was acted on",
		"brake_until": "no launch before then, because replicas died while loading; absent: the brake is off",
	},
	"Signals": {"up": "over the window of scale_up", "down": "over the window of scale_down"},
	"Signal": {
		"latency_mean_s": "seconds in the replica, without the hold; null: unknown", "latency_p50_s": "seconds; null: unknown",
		"latency_p95_s": "seconds; null: unknown", "latency_p99_s": "seconds; null: unknown",
		"gpu_utilization_percent": "mean over the ready replicas; null: unknown", "demand": "in flight and held, per ready replica (at least one); null: unknown",
		"qps": "arrivals per second, per ready replica (at least one); null: unknown", "metrics": "value of each metric of the policy that is compared here, by name; null: unknown",
	},
	"Point": {
		"at": "when it was so", "wanted": "replicas, by the last decision", "ready": "replicas that answer",
		"starting": "replicas that are pending or starting", "draining": "replicas that finish what they have", "held": "requests waiting for a slot",
		"in_flight": "requests at a replica", "qps": "arrivals per second; null: unknown", "gpu_utilization_percent": "mean over the ready replicas; null: unknown",
		"p95_ms": "milliseconds in the replica that 19 of 20 requests do not exceed; null: unknown",
	},
	"PolicyInfo": {
		"name": "of the policy, and of its service", "version": "1 is the first; also the ETag", "author": "who saved it", "comment": "why, as it was given",
		"at": "when it was saved", "deleted": "it is not in force: this version deleted it", "policy": "every field with its value; null: it is not valid in this version of the program",
		"errors": "why policy is null; absent: it is not",
	},
	"VersionInfo": {
		"name": "of the policy", "version": "1 is the first; also the ETag", "author": "who saved it", "comment": "why, as it was given",
		"at": "when it was saved", "deleted": "this version deleted the policy",
	},
	"Version": {
		"name": "of the policy", "version": "1 is the first; also the ETag", "author": "who saved it", "comment": "why, as it was given",
		"at": "when it was saved", "text": "one policy block of HCL, as it was saved", "deleted": "this version deleted the policy",
	},
	"RollbackRequest": {"version": "a kept one, whose text is saved again as the newest", "comment": "why; stored with the new version"},
	"Verdict":         {"valid": "it could be saved", "errors": "all that is wrong, at once", "warnings": "what is allowed and seldom meant"},
	"Difference":      {"base": "version compared with; 0: nothing is in force", "changes": "field by field, in the order of a policy"},
	"Change":          {"field": "path of the field, such as replicas.max", "from": "as written in HCL; empty: it was not named", "to": "as written in HCL; empty: it is not named any more"},
	"FieldProblem": {
		"field": "path of the field, such as replicas.max", "line": "of the text, 1 is the first; 0: it is about no line", "column": "of the line, 1 is the first; absent: not known",
		"message": "what is wrong", "allowed": "what would be right",
	},
	"Problem": {
		"type": "urn:pilotlight:problem:NAME, the same for every problem of one kind", "title": "the status in words", "status": "of the answer",
		"detail": "what is wrong with this request and what to do, in a sentence", "service": "that it is about; absent: none", "retry_after_s": "seconds after which it may be tried again; absent: trying again does not help, or at once",
		"errors": "of 422: all that is wrong", "current": "of 412: the version that won the race",
	},
	"RequestInfo": {
		"id": "of its ticket", "service": "asked for", "request_id": "its X-Request-Id", "state": "held until it has a slot; running; and one of the final ones",
		"phase": "where its service is while it is held: decide, place, pull, start or load of the cold start, or ready, and it waits for a slot; running; empty once it is final", "position": "in the order of release, 1 is next; null: it is not held, or it is not known",
		"eta_s": "seconds until it is sent to a replica; null: unknown", "priority": "higher is released first", "attempts": "how often it was sent to a replica",
		"replica": "that has or had it; empty: none yet", "status": "of the answer; null: there is none yet", "reason": "why it failed or was cancelled; empty: it did not, or was not",
		"at": "when it came", "age_s": "seconds since it came", "deadline": "when it is given up; null: never", "async": "no connection waits for its answer",
		"durable": "it has a key or is async: it outlives its connection and its activator, and can be cancelled here",
	},
	"Shadow":     {"id": "another one for each draft that is set", "text": "of the draft, one policy block of HCL", "author": "who set it", "comment": "why, as it was given", "at": "when it was set"},
	"ShadowInfo": {"service": "whose policy it runs beside", "shadow": "the draft", "standing": "how the two compare; null: it has not decided yet", "steps": "when either wanted another count, oldest first; the newest 2,000"},
	"ShadowStanding": {
		"at": "of these figures", "observed_s": "seconds in which both were looked at; none while there was no scaler", "wanted": "replicas, by the draft", "live_wanted": "replicas, by the policy in force",
		"ready": "of the replicas that the draft would have", "differs_s": "of observed_s, the seconds in which the two wanted different counts",
		"gpu_seconds": "of the replicas that the draft would have had", "live_gpu_seconds": "of the replicas that were there", "decisions": "of the draft that changed its count",
		"failure": "why it does not decide, in a sentence; empty: it does",
	},
	"ShadowStep": {"at": "from when on", "wanted": "replicas, by the draft", "live": "replicas, by the policy in force"},
	"SimulationInfo": {
		"id": "to ask for it and to cancel it", "service": "whose policy is tried", "state": "waiting: for another one to end; running; done; failed; cancelled",
		"reason": "why it failed or was cancelled, in a sentence; null: neither", "over": "what it is tried on", "progress": "how far it is", "report": "what was found; null until it is done",
	},
	"SimulationOver": {
		"trace": "name of the trace; null: recorded demand", "from": "beginning of the recorded demand; null: a named trace", "to": "its end; null: a named trace",
		"covered_s": "seconds of that time in which demand was recorded; the rest counts as time without requests; null: a named trace",
		"requests":  "that came", "slot_times": "recorded times in a slot, among which each request's is drawn; null: a named trace",
		"cold_starts": "of this service, among which each launch is drawn if they are 5 or more", "cold_start_s": "their median, in seconds from launch to ready; each is drawn around it if there are fewer than 5; 120 is a guess where there are none, unless it was asked for",
		"compared_with_live": "the policy in force is replayed, too; false: there is none, or the draft says the same", "live_version": "of the policy in force; 0: there is none",
		"replica_gpus": "GPUs of one replica", "replicas_max": "of the draft", "concurrency": "slots of one replica, by the draft",
	},
	"SimulationProgress": {
		"at_s": "seconds of virtual time since the beginning, the mean over the ways to scale", "of_s": "seconds of virtual time in all; null: not known",
		"requests": "replayed so far, the mean over the ways to scale", "share": "0 to 1; null: not known", "eta_s": "seconds until it is done; null: not known yet", "took_s": "seconds that it has run",
	},
	"SimulationReport": {
		"results":     "the draft, the policy in force if it is compared, the other ways to scale, and with sweep=true the draft with other values of patience",
		"lower_bound": "what somebody who knows the future would need", "span_s": "seconds of virtual time", "services": "of the trace", "seed": "of every draw: the same gives the same figures",
		"notes": "sentences that have to be known to read the figures",
	},
	"SimulationResult": {
		"name":     "draft, live, fixed-5m, fixed-10m, fixed-15m, kpa, hpa-keda, nomad-as, single-5m or always-on",
		"patience": "of a point of the sweep; absent: it is none", "headroom": "of a point of the sweep; absent: it is none",
		"gpu_seconds": "of all replicas, from launch to end", "usd": "at cost.usd_per_hour of the draft; null: it names no price", "cold_started": "requests that were answered, and held before while no replica was ready",
		"delayed_over_1s": "requests held for more than a second", "refused": "requests that came while hold.max_requests were held", "timed_out": "requests held for hold.max_wait",
		"scale_actions": "changes of the count wanted", "launches": "of replicas", "stops": "of replicas", "flips": "launches within 10 minutes of a stop",
		"added_wait_s": "seconds from arrival until a replica has the request, of those that were answered", "waited_s": "seconds, all of those together", "busy_share": "of the slots paid for, those with a request, 0 to 1",
		"to_lower_bound": "gpu_seconds over lower_bound.gpu_seconds", "to_any_wait_lower_bound": "gpu_seconds over lower_bound.any_wait_gpu_seconds",
		"series": "of draft and live, the most in each of at most 720 parts; others have none",
	},
	"SimulationPoint": {"at_s": "seconds of virtual time since the beginning", "wanted": "replicas", "ready": "replicas", "held": "requests", "demand": "requests in flight and held"},
	"Bound": {
		"gpu_seconds": "OPT0: the least for nobody to wait", "any_wait_gpu_seconds": "the least whatever anybody waits", "peak_replicas": "with slots for everybody at the worst moment of each service, all services together",
		"peak_of_one_service": "of the service with the highest", "mean_replicas_needed": "requests in slots over slots of a replica, mean over the span",
	},
	"Wait": {"mean": "seconds", "p50": "seconds; half of the requests wait less", "p95": "seconds; 19 of 20 do", "p99": "seconds; 99 of 100 do", "max": "seconds, of the one that waits longest"},
}
