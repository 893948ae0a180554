package jobs

import "time"

// Spec is one job spec as far as Pilotlight reads it. Raw expressions that only
// the node can evaluate (NOMAD_PORT_http, attr.…) are kept as ${…} text.
type Spec struct {
	ID        string
	Namespace string
	Type      string // "service" unless the file says otherwise
	File      string // where it was read from
	Source    string // the HCL text, registered as it is
	Variables string // values given besides the text, as the HCL of a variable file; "" if none
	Unscaled  bool   // meta { pilotlight = "not-scaled" }: its counts are not Pilotlight's
	Line      int
	Groups    []Group
}

// Group of a Spec.
type Group struct {
	Name              string
	Line              int
	Count             int            // -1 if the file names none
	Ports             []Port         // of the group's network block
	UpdateMaxParallel *int           // nil: no update block
	Scaling           *ScalingBounds // nil: no scaling block
	Restart           Restart
	Reschedule        *Reschedule // nil: no reschedule block
	Migrate           Migrate
	Disconnect        *Disconnect // nil: neither a disconnect block nor what it replaced
	EphemeralDisk     EphemeralDisk
	ShutdownDelay     time.Duration // before the kill signal, after the service is deregistered
	Checks            []Check
	Tasks             []Task
}

// Port of a network block; Static is 0 for a dynamic one.
type Port struct {
	Label  string
	Static int
	Line   int
}

// ScalingBounds of a scaling block.
type ScalingBounds struct {
	Min, Max int
	Enabled  bool
	Line     int
}

// Restart is Nomad's restart block with its defaults for services filled in.
type Restart struct {
	Attempts int
	Interval time.Duration
	Delay    time.Duration
	Mode     string // "fail" or "delay"
}

// Reschedule is Nomad's reschedule block.
type Reschedule struct {
	Attempts      int
	Unlimited     bool
	Delay         time.Duration
	DelayFunction string
	Line          int
}

// Migrate is how a node drain moves allocations, with Nomad's defaults filled in.
type Migrate struct {
	MaxParallel     int
	HealthyDeadline time.Duration // after which a replacement that is not healthy holds up the next no longer
	Line            int           // 0: no migrate block
}

// Disconnect is what Nomad does with an allocation whose node is out of reach.
type Disconnect struct {
	LostAfter time.Duration // until then it is unknown, not lost
	Replace   bool          // whether an unknown one is replaced meanwhile
	Line      int
}

// EphemeralDisk is what an allocation has of its node's disk.
type EphemeralDisk struct {
	SizeMB  int
	Migrate bool // its content is copied to a replacement before that starts
	Line    int  // 0: no ephemeral_disk block
}

// Check is an HTTP or TCP check of a service block.
type Check struct {
	Type    string
	Path    string
	Port    string
	Line    int
	Restart *CheckRestart // nil: failing the check restarts nothing
}

// CheckRestart restarts a task whose check fails Limit times in a row, from
// Grace after its start on.
type CheckRestart struct {
	Limit int // 0: never
	Grace time.Duration
	Line  int
}

// Task of a Group.
type Task struct {
	Name          string
	Line          int
	Driver        string
	Command       string // task.config.command
	Args          []string
	Env           map[string]string
	User          string
	Leader        bool
	Lifecycle     string // hook; "" for a main task
	ShutdownDelay time.Duration
	KillTimeout   time.Duration
	KillSignal    string
	Artifacts     int // artifact blocks
	GPUs          int // Σ count of device "…gpu…" blocks
	Restart       *Restart
}

// Main returns the task that serves: the leader, else the first one without a
// lifecycle hook; nil if the group has none.
func (g *Group) Main() *Task {
	var first *Task
	for i := range g.Tasks {
		t := &g.Tasks[i]
		if t.Leader {
			return t
		}
		if t.Lifecycle == "" && first == nil {
			first = t
		}
	}
	return first
}

// GroupNamed returns the group with that name, or the only group if name is "";
// nil if there is none such.
func (s *Spec) GroupNamed(name string) *Group {
	if name == "" {
		if len(s.Groups) == 1 {
			return &s.Groups[0]
		}
		return nil
	}
	for i := range s.Groups {
		if s.Groups[i].Name == name {
			return &s.Groups[i]
		}
	}
	return nil
}

// Finding is one remark on an input file; job check prints them, policies
// returns them as validation errors.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"` // SeverityError, SeverityWarning
	Rule     string `json:"rule"`     // stable name: syntax, unknown-group, …
	Path     string `json:"path"`     // place in the spec, group.server.task.model.kill_timeout
	Message  string `json:"message"`
	Allowed  string `json:"allowed"`
}

// Severities of a Finding.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)
