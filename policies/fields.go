package policies

import "time"

// blocks are all the blocks that a policy block may hold, in the order in which
// they are written.
var blocks = []block{
	{name: "route", meaning: "which requests are the service's; at least one of hosts, path_prefixes and models is required"},
	{
		name: "translate", meaning: "the adapter of POST /translate",
		present: func(p *Policy) bool { return p.Translate != nil },
		create:  func(p *Policy) { p.Translate = newTranslate() },
	},
	{name: "probe", meaning: "how a replica is asked whether it can answer"},
	{name: "replicas", meaning: "bounds of the count, and slots per replica"},
	{name: "hold", meaning: "what may wait, and how long"},
	{name: "request", meaning: "limits of a request in its slot"},
	{name: "retry", meaning: "another try at another replica, before any byte of the answer"},
	{name: "result", meaning: "stored answers of keyed and async requests"},
	{name: "sizing", meaning: "how demand becomes a number of replicas"},
	{name: "scale_up", meaning: "more replicas when ANY named condition holds as a mean over window"},
	{name: "scale_down", meaning: "fewer replicas when ALL named conditions hold as a mean over window; a named signal without data holds the count"},
	{name: "to_zero", meaning: "how long the last replica is kept without demand"},
	{name: "schedule", meaning: "a minimum during a window of time", entries: schedules},
	{name: "gpu", meaning: "where GPU utilization comes from"},
	{name: "by_hand", meaning: "what becomes of a count that somebody sets in Nomad itself, with nomad job scale or its UI"},
	{name: "metric", meaning: "a threshold on a metric of the model server", entries: metrics},
	{
		name: "cost", meaning: "what a replica costs",
		present: func(p *Policy) bool { return p.Cost != nil },
		create:  func(p *Policy) { p.Cost = &Cost{} },
	},
}

const day = 24 * time.Hour

// Shapes that several fields share.
var (
	anyText   = text{limit: 1000, want: "text of at most 1000 characters"}
	nomadID   = text{limit: 128, ok: isWord, want: "a name without spaces, at most 128 characters"}
	timeout   = duration{min: 100 * time.Millisecond, max: day, example: 10 * time.Minute}
	window    = duration{min: time.Second, max: day, example: time.Minute}
	pause     = duration{max: day, example: time.Minute}
	latency   = duration{min: time.Millisecond, max: time.Hour, example: 5 * time.Second}
	percent   = number{max: 100, above: true}
	perSecond = number{max: 1e6, above: true}
	step      = count{0, 1000}
	anyBytes  = size{1 << 10, 1 << 40}
)

// fields are all the attributes of a policy, in the order in which they are
// written. Everything that knows the fields' names reads this table.
var fields = []field{
	one("description", anyText, "", "what the service is for, for people",
		func(p *Policy) *string { return &p.Description }),
	one("job", nomadID, "", "id of the Nomad job that runs the service; required",
		func(p *Policy) *string { return &p.Job }),
	one("group", text{128, func(s string) bool { return s == "" || isWord(s) }, nomadID.want}, "",
		"task group of the job; needed only if the job has several",
		func(p *Policy) *string { return &p.Group }),
	one("namespace", text{128, isNamespace, `letters, digits and "-", at most 128 characters`}, "", "Nomad namespace of the job",
		func(p *Policy) *string { return &p.Namespace }),
	one("regions", list{16, nomadID}, "", "Nomad regions in order of preference; empty: the agent's own",
		func(p *Policy) *[]string { return &p.Regions }),
	one("gpu_priority", count{1, 100}, "", "who goes first when GPUs are short; more is earlier",
		func(p *Policy) *int { return &p.GPUPriority }),
	later("weight", number{max: 1000, above: true}, "share among services of one gpu_priority; 1 by default"),
	later("preempt", flag{}, "whether it may take GPUs from services of a lower gpu_priority; false by default"),

	one("route.hosts", list{100, hostName}, "", "host names; empty: any host",
		func(p *Policy) *[]string { return &p.Route.Hosts }),
	one("route.path_prefixes", list{100, pathPrefix}, "", "path prefixes, matched by whole segments",
		func(p *Policy) *[]string { return &p.Route.PathPrefixes }),
	one("route.models", list{100, modelName}, "", `values of "model" in a JSON body`,
		func(p *Policy) *[]string { return &p.Route.Models }),
	one("route.strip_prefix", flag{}, "", "whether the replica sees the path without the prefix",
		func(p *Policy) *bool { return &p.Route.StripPrefix }),

	one("translate.backend", choice{"passthrough", "completions", "apertium"}, "", "what the replica speaks",
		func(p *Policy) *string {
			if p.Translate == nil {
				return nil
			}
			return &p.Translate.Backend
		}),
	one("translate.model", text{256, func(s string) bool { return s == "" || isWord(s) }, modelName.want}, "",
		"model that is asked for; required for completions",
		func(p *Policy) *string {
			if p.Translate == nil {
				return nil
			}
			return &p.Translate.Model
		}),

	one("probe.path", probePath, "", "path that answers 2xx when the replica can; empty: the job spec's own HTTP check, else /health",
		func(p *Policy) *string { return &p.Probe.Path }),
	one("probe.timeout", duration{10 * time.Millisecond, time.Minute, 2 * time.Second}, "", "of one probe",
		func(p *Policy) *time.Duration { return &p.Probe.Timeout }),
	one("probe.max", duration{time.Second, day, 15 * time.Minute}, "", "a replica that is not ready by then has failed to start",
		func(p *Policy) *time.Duration { return &p.Probe.Max }),

	one("replicas.min", count{0, 1000}, "replicas", "never fewer",
		func(p *Policy) *int { return &p.Replicas.Min }),
	one("replicas.max", count{1, 1000}, "replicas", "never more",
		func(p *Policy) *int { return &p.Replicas.Max }),
	one("replicas.concurrency", count{1, 10_000}, "slots per replica", "requests in flight at one replica",
		func(p *Policy) *int { return &p.Replicas.Concurrency }),

	one("hold.max_requests", count{1, 1_000_000}, "requests", "held at once; beyond: 429",
		func(p *Policy) *int { return &p.Hold.MaxRequests }),
	one("hold.max_bytes", anyBytes, "", "of the bodies held at once; beyond: 429",
		func(p *Policy) *int64 { return &p.Hold.MaxBytes }),
	one("hold.max_body", anyBytes, "", "of one body; beyond: 413",
		func(p *Policy) *int64 { return &p.Hold.MaxBody }),
	one("hold.max_wait", timeout, "", "how long a connection is held",
		func(p *Policy) *time.Duration { return &p.Hold.MaxWait }),
	one("hold.async_max_wait", duration{time.Second, 7 * day, day}, "", "how long an async request is held",
		func(p *Policy) *time.Duration { return &p.Hold.AsyncMaxWait }),
	one("hold.heartbeat", duration{time.Second, time.Hour, 10 * time.Second}, "", "between comments on a held stream",
		func(p *Policy) *time.Duration { return &p.Hold.Heartbeat }),

	one("request.timeout", timeout, "", "in a slot, whole",
		func(p *Policy) *time.Duration { return &p.Request.Timeout }),
	one("request.first_byte", timeout, "", "from when the replica has the whole request until the first byte of its answer",
		func(p *Policy) *time.Duration { return &p.Request.FirstByte }),
	one("request.idle", timeout, "", "between bytes of a stream",
		func(p *Policy) *time.Duration { return &p.Request.Idle }),

	one("retry.attempts", count{1, 10}, "attempts", "at most, the first one counted",
		func(p *Policy) *int { return &p.Retry.Attempts }),
	{
		// Its default is no one value, since a service may take both kinds of paths:
		// what is not named stays so in every form of the policy.
		path: "retry.repeat", shape: choice{"never", "keyed", "always"},
		meaning: "which requests may be sent again: none, those with an Idempotency-Key, all. Not named, it depends on each request's path: always on /translate and /v1, keyed elsewhere",
		get: func(p *Policy) any {
			if p.Retry.Repeat == "" {
				return nil
			}
			return p.Retry.Repeat
		},
		set: func(p *Policy, v any) { p.Retry.Repeat = v.(string) },
	},

	one("result.keep", duration{time.Minute, 30 * day, day}, "", "how long an answer is stored",
		func(p *Policy) *time.Duration { return &p.Result.Keep }),
	one("result.max_size", anyBytes, "", "of a stored answer",
		func(p *Policy) *int64 { return &p.Result.MaxSize }),
	one("result.max_bytes", anyBytes, "", "of all stored answers, with a KiB each for the rest; beyond: those kept for ten minutes go, the oldest first, else 429",
		func(p *Policy) *int64 { return &p.Result.MaxBytes }),

	one("sizing.mode", choice{"auto", "thresholds"}, "", "auto: from demand and backlog; thresholds: only scale_up and scale_down decide",
		func(p *Policy) *string { return &p.Sizing.Mode }),
	{
		// Not named when target_utilization stands in its place.
		path: "sizing.headroom", shape: number{max: 10}, unit: "square roots of the load", meaning: "spare capacity",
		get: func(p *Policy) any {
			if p.Sizing.TargetUtilization != nil {
				return nil
			}
			return p.Sizing.Headroom
		},
		set: func(p *Policy, v any) { p.Sizing.Headroom = v.(float64) },
	},
	maybe("sizing.target_utilization", number{max: 1, above: true}, "busy slots per slot", "instead of headroom",
		func(p *Policy) **float64 { return &p.Sizing.TargetUtilization }),
	one("sizing.patience", number{max: 1000}, "GPU-seconds per second of one request's waiting", "what is worth paying to save waiting",
		func(p *Policy) *float64 { return &p.Sizing.Patience }),
	one("sizing.every", duration{100 * time.Millisecond, time.Hour, time.Second}, "", "how often it looks, besides at once on demand (mode auto)",
		func(p *Policy) *time.Duration { return &p.Sizing.Every }),
	one("sizing.sample", duration{100 * time.Millisecond, time.Hour, time.Second}, "", "how often the signals are read",
		func(p *Policy) *time.Duration { return &p.Sizing.Sample }),
	maybe("sizing.drain_within", duration{time.Second, day, time.Minute}, "", "how soon after a cold start whatever waits now is to be through, whatever that costs",
		func(p *Policy) **time.Duration { return &p.Sizing.DrainWithin }),

	one("scale_up.window", window, "", "the means are taken over it",
		func(p *Policy) *time.Duration { return &p.ScaleUp.Window }),
	{
		path: "scale_up.cooldown", shape: wordOr{[]string{"auto"}, pause},
		meaning: "between steps; auto: until what the last step launched is ready and window has passed",
		get: func(p *Policy) any {
			if p.ScaleUp.CooldownAuto {
				return wait{word: "auto"}
			}
			return wait{length: p.ScaleUp.Cooldown}
		},
		set: func(p *Policy, v any) {
			w := v.(wait)
			p.ScaleUp.CooldownAuto, p.ScaleUp.Cooldown = w.word == "auto", w.length
		},
	},
	one("scale_up.max_step", step, "replicas", "at one step; 0: no limit",
		func(p *Policy) *int { return &p.ScaleUp.MaxStep }),
	maybe("scale_up.latency_mean", latency, "", "mean time in the replica, without the hold, above this",
		func(p *Policy) **time.Duration { return &p.ScaleUp.LatencyMean }),
	maybe("scale_up.latency_p50", latency, "", "median time in the replica above this",
		func(p *Policy) **time.Duration { return &p.ScaleUp.LatencyP50 }),
	maybe("scale_up.latency_p95", latency, "", "95th percentile of the time in the replica above this",
		func(p *Policy) **time.Duration { return &p.ScaleUp.LatencyP95 }),
	maybe("scale_up.latency_p99", latency, "", "99th percentile of the time in the replica above this",
		func(p *Policy) **time.Duration { return &p.ScaleUp.LatencyP99 }),
	maybe("scale_up.gpu_utilization", percent, "percent", "mean over the ready replicas above this",
		func(p *Policy) **float64 { return &p.ScaleUp.GPUUtilization }),
	maybe("scale_up.demand", perSecond, "requests per ready replica", "in flight and held above this",
		func(p *Policy) **float64 { return &p.ScaleUp.Demand }),
	maybe("scale_up.qps", perSecond, "arrivals per second per ready replica", "above this",
		func(p *Policy) **float64 { return &p.ScaleUp.QPS }),

	one("scale_down.window", window, "", "the means are taken over it",
		func(p *Policy) *time.Duration { return &p.ScaleDown.Window }),
	one("scale_down.cooldown", pause, "", "between steps",
		func(p *Policy) *time.Duration { return &p.ScaleDown.Cooldown }),
	one("scale_down.max_step", step, "replicas", "at one step; 0: no limit",
		func(p *Policy) *int { return &p.ScaleDown.MaxStep }),
	one("scale_down.drain_timeout", duration{max: day, example: 5 * time.Minute}, "", "how long a draining replica may finish its requests",
		func(p *Policy) *time.Duration { return &p.ScaleDown.DrainTimeout }),
	maybe("scale_down.latency_mean", latency, "", "mean time in the replica, without the hold, below this",
		func(p *Policy) **time.Duration { return &p.ScaleDown.LatencyMean }),
	maybe("scale_down.latency_p50", latency, "", "median time in the replica below this",
		func(p *Policy) **time.Duration { return &p.ScaleDown.LatencyP50 }),
	maybe("scale_down.latency_p95", latency, "", "95th percentile of the time in the replica below this",
		func(p *Policy) **time.Duration { return &p.ScaleDown.LatencyP95 }),
	maybe("scale_down.latency_p99", latency, "", "99th percentile of the time in the replica below this",
		func(p *Policy) **time.Duration { return &p.ScaleDown.LatencyP99 }),
	maybe("scale_down.gpu_utilization", percent, "percent", "mean over the ready replicas below this",
		func(p *Policy) **float64 { return &p.ScaleDown.GPUUtilization }),
	maybe("scale_down.demand", perSecond, "requests per ready replica", "in flight and held below this",
		func(p *Policy) **float64 { return &p.ScaleDown.Demand }),
	maybe("scale_down.qps", perSecond, "arrivals per second per ready replica", "below this",
		func(p *Policy) **float64 { return &p.ScaleDown.QPS }),

	{
		path: "to_zero.after", shape: wordOr{[]string{"auto", "never"}, duration{100 * time.Millisecond, 7 * day, time.Minute}},
		meaning: "auto: what would have been cheapest on the service's own idle times, or while too few are known as long as a cold start costs; a duration: exact, the last replica drains that long after the last demand, whatever scale_down says",
		get: func(p *Policy) any {
			if p.ToZero.Mode == "after" {
				return wait{length: p.ToZero.After}
			}
			return wait{word: p.ToZero.Mode}
		},
		set: func(p *Policy, v any) {
			w := v.(wait)
			p.ToZero.Mode, p.ToZero.After = w.word, w.length
			if w.word == "" {
				p.ToZero.Mode = "after"
			}
		},
	},
	one("to_zero.at_least", duration{max: 7 * day, example: 30 * time.Second}, "", "lower bound of auto",
		func(p *Policy) *time.Duration { return &p.ToZero.AtLeast }),
	one("to_zero.at_most", duration{time.Second, 7 * day, 30 * time.Minute}, "", "upper bound of auto",
		func(p *Policy) *time.Duration { return &p.ToZero.AtMost }),
	one("to_zero.prewarm", flag{}, "", "with after = \"auto\" and mode = \"auto\": one replica ahead of demand, by the time of day of the last seven days",
		func(p *Policy) *bool { return &p.ToZero.Prewarm }),

	one("gpu.source", choice{"nomad", "metrics", "prometheus"}, "", "nomad: device statistics of the node; metrics: a scrape of the replica's /metrics, or of an exporter on its node; prometheus: query",
		func(p *Policy) *string { return &p.GPU.Source }),
	one("gpu.query", anyText, "", "prometheus: PromQL that gives one number, in percent, for all replicas; metrics: the name of one metric, in place of the DCGM exporter's, in percent or a share of 1",
		func(p *Policy) *string { return &p.GPU.Query }),
	one("gpu.port", count{0, 65535}, "", "metrics: port of an exporter on the replica's node, of which the samples of the replica's own GPUs count; 0: the replica's own port",
		func(p *Policy) *int { return &p.GPU.Port }),

	one("by_hand.count", choice{"pin", "adopt", "restore"}, "", "pin: held for a while, as if an operator had pinned it; adopt: taken as it is, the rules go on from there; restore: set back at once",
		func(p *Policy) *string { return &p.ByHand.Count }),
	one("by_hand.for", duration{time.Second, 7 * day, time.Hour}, "", "how long pin lasts",
		func(p *Policy) *time.Duration { return &p.ByHand.For }),

	one("cost.gpu", text{100, nil, "text of at most 100 characters"}, "", `what a replica takes, such as "2x 80GB"; the number before the x counts in the price of a replica where the job spec names no GPU device`,
		func(p *Policy) *string {
			if p.Cost == nil {
				return nil
			}
			return &p.Cost.GPU
		}),
	maybe("cost.usd_per_hour", number{max: 1e6}, "USD per hour and replica", "unknown unless it is given",
		func(p *Policy) **float64 {
			if p.Cost == nil {
				return nil
			}
			return &p.Cost.USDPerHour
		}),
}
