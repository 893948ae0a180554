package policies

import "time"

// Policy is how many replicas a service should have, and when. Field names in
// HCL and JSON are the ones in the tags; interfaces and defaults are those of
// Defaults. Durations are Go durations ("90s"), sizes are "256MiB".
type Policy struct {
	Name        string
	Description string
	Job         string   // job id, required
	Group       string   // "" = the job's only group
	Namespace   string   // "default"
	Regions     []string // not supported yet
	GPUPriority int      // 1..100, 50; other values not supported yet

	Route     Route
	Translate *Translate // nil: no translate block
	Probe     Probe
	Replicas  Replicas
	Hold      Hold
	Request   Request
	Retry     Retry
	Result    Result
	Sizing    Sizing
	ScaleUp   Thresholds
	ScaleDown Thresholds
	ToZero    ToZero
	Schedules []Schedule
	GPU       GPU
	ByHand    ByHand
	Metrics   []Metric
	Cost      *Cost
}

// Route says which requests are the service's. At least one list is not empty.
type Route struct {
	Hosts        []string
	PathPrefixes []string // whole segments
	Models       []string // the JSON body's "model"
	StripPrefix  bool
}

// Translate names the adapter of POST /translate.
type Translate struct {
	Backend string // "passthrough", "completions", "apertium"
	Model   string // for completions
}

// Probe is how a replica is asked whether it can answer.
type Probe struct {
	Path    string        // "" = the job spec's own HTTP check, else /health
	Timeout time.Duration // of one probe
	Max     time.Duration // a replica not ready by then has failed to start
}

// Replicas bounds the count; Concurrency is slots per replica.
type Replicas struct{ Min, Max, Concurrency int }

// Hold bounds what may wait.
type Hold struct {
	MaxRequests int
	MaxBytes    int64
	MaxBody     int64
	MaxWait     time.Duration
	// AsyncMaxWait is MaxWait of requests that no connection waits for.
	AsyncMaxWait time.Duration
	Heartbeat    time.Duration
}

// Request bounds a request in its slot.
type Request struct {
	Timeout   time.Duration // whole
	FirstByte time.Duration
	Idle      time.Duration // between bytes of a stream
}

// Retry on another replica, before any byte of the answer.
type Retry struct {
	Attempts int    // at most, the first one counted; one of which nothing was sent is none
	Repeat   string // "never", "keyed", "always"; "" (not named) depends on the request's path: always on /translate and /v1, keyed elsewhere
}

// Result bounds stored answers.
type Result struct {
	Keep     time.Duration
	MaxSize  int64 // of one
	MaxBytes int64 // of all
}

// Sizing chooses how demand becomes a count.
type Sizing struct {
	Mode              string         // "auto", "thresholds"
	Headroom          float64        // β, in square roots of the load
	TargetUtilization *float64       // instead of Headroom
	Patience          float64        // θ, GPU-seconds per request-second
	DrainWithin       *time.Duration // nil: as soon as it is worth its price
	Every             time.Duration
	Sample            time.Duration
}

// Thresholds of scale_up (any of) or scale_down (all of); nil is not named.
type Thresholds struct {
	Window       time.Duration
	CooldownAuto bool          // scale_up only: cooldown = "auto"
	Cooldown     time.Duration // if not CooldownAuto
	MaxStep      int           // 0 = no limit
	DrainTimeout time.Duration // scale_down only

	LatencyMean    *time.Duration
	LatencyP50     *time.Duration
	LatencyP95     *time.Duration
	LatencyP99     *time.Duration
	GPUUtilization *float64 // percent
	Demand         *float64 // in flight + held, per ready replica (at least one)
	QPS            *float64 // arrivals per second, per ready replica (at least one)
}

// ToZero is the keep-alive of the last replica.
type ToZero struct {
	Mode    string        // "auto", "never", "after"
	After   time.Duration // for "after": exact
	AtLeast time.Duration
	AtMost  time.Duration
	Prewarm bool // one replica ahead of demand, by time of day; only in mode auto of both sizing and ToZero
}

// Schedule is a minimum during a window of time, which begins when cron says so
// and lasts For.
type Schedule struct {
	Name string
	Cron string // minute, hour, day of month, month, day of week
	Zone string // of the IANA database, or "UTC"
	For  time.Duration
	Min  int
}

// GPU says where utilization comes from.
type GPU struct {
	Source string // "nomad", "metrics", "prometheus"
	// Query is PromQL for "prometheus", required there: one number, in percent.
	// For "metrics" it is the name of one metric in place of the DCGM exporter's,
	// such as vllm:kv_cache_usage_perc; of several series it is the mean. A value of
	// at most 1 of a name that ends with _perc or _ratio is a share of 1, as are
	// those of DCGM_FI_PROF_…_ACTIVE and nv_gpu_utilization (Triton).
	Query string
	// Port of the exporter's /metrics at the replica's host, for "metrics"; 0: the
	// replica's own port. Of an exporter of a whole node the samples count whose
	// label UUID (or gpu_uuid) is one of the replica's devices.
	Port int
}

// ByHand says what becomes of a count that somebody sets in the fleet itself,
// such as with nomad job scale.
type ByHand struct {
	Count string        // "pin", "adopt", "restore"
	For   time.Duration // how long "pin" lasts
}

// Metric is one more condition of scale_up (Up), of scale_down (Down) or of
// both, on a metric of the model server. It is a mean over their windows: of the
// mean over the ready replicas for Up, of their maximum for Down.
type Metric struct {
	Name   string
	Source string   // "metrics": the replicas' own /metrics, "prometheus"
	Query  string   // the name of one metric, or PromQL that gives one number
	Up     *float64 // nil: none
	Down   *float64 // nil: none; else below Up
}

// Cost of one replica.
type Cost struct {
	GPU        string   // what it takes, such as "2x 80GB"
	USDPerHour *float64 // nil: unknown
}

// mostGPUs of a replica are believed; more is a slip of the pen.
const mostGPUs = 1024

// GPUs is how many GPUs a replica takes by the policy's own word: the number
// before the x of cost.gpu ("2x 80GB" is 2). It is 1 where none is named. Where
// the job spec asks for devices, that number is truer.
func (p *Policy) GPUs() int {
	if p.Cost == nil {
		return 1
	}
	n := 0
	for i, c := range p.Cost.GPU {
		switch {
		case c >= '0' && c <= '9':
			n = min(10*n+int(c-'0'), mostGPUs)
		case c == ' ' || c == '\t':
		case (c == 'x' || c == 'X' || c == '×') && i > 0 && n > 0:
			return n
		default:
			return 1
		}
	}
	return 1
}
