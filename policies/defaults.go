package policies

import "time"

// New returns a policy with every default, ready to be completed: it lacks a
// job and a route. Blocks that may be absent (translate, cost) are absent.
//
// The fields that this version does not act on have the default that they will
// have.
func New(name string) *Policy {
	return &Policy{
		Name:        name,
		Namespace:   "default",
		GPUPriority: 50,
		Probe:       Probe{Timeout: 2 * time.Second, Max: 15 * time.Minute},
		Replicas:    Replicas{Min: 0, Max: 1, Concurrency: 8},
		Hold: Hold{
			MaxRequests:  1000,
			MaxBytes:     256 << 20,
			MaxBody:      10 << 20,
			MaxWait:      10 * time.Minute,
			AsyncMaxWait: 24 * time.Hour,
			Heartbeat:    10 * time.Second,
		},
		Request: Request{
			Timeout:   10 * time.Minute,
			FirstByte: 5 * time.Minute,
			Idle:      time.Minute,
		},
		Retry:  Retry{Attempts: 3},
		Result: Result{Keep: 24 * time.Hour, MaxSize: 8 << 20, MaxBytes: 1 << 30},
		Sizing: Sizing{
			Mode:     "auto",
			Headroom: 0.5,
			Patience: 2,
			Every:    time.Second,
			Sample:   time.Second,
		},
		ScaleUp: Thresholds{Window: time.Minute, CooldownAuto: true},
		ScaleDown: Thresholds{
			Window:       2 * time.Minute,
			DrainTimeout: 5 * time.Minute,
		},
		ToZero: ToZero{
			Mode:    "auto",
			AtLeast: 30 * time.Second,
			AtMost:  30 * time.Minute,
			Prewarm: true,
		},
		GPU:    GPU{Source: "nomad"},
		ByHand: ByHand{Count: "pin", For: time.Hour},
	}
}

func newTranslate() *Translate { return &Translate{Backend: "passthrough"} }
