package nomaddouble

import (
	"fmt"
	"net/http"
	"time"
)

// allocation of one group on one node.
type allocation struct {
	ID      string
	job     *job
	group   *group // as it was placed, or last updated in place
	version uint64 // of the job, of that group
	node    *node
	Index   int

	EvalID       string
	Desired      string
	DesiredWhy   string
	Client       string
	ClientWhy    string
	previous     *allocation // whose place it takes
	Next         string      // replacement
	followup     string      // evaluation that will replace it
	migrate      bool        // to leave its node
	force        bool        // reschedule whatever its delay
	Ports        map[string]int
	Devices      map[string][]granted
	metrics      document
	states       map[string]*taskState // as the servers know them
	deployment   string
	healthy      *health
	unknownSince time.Time
	failedAt     time.Time
	CreateIndex  uint64
	ModifyIndex  uint64
	allocModify  uint64 // of the last change by a server, not by a client
	created      time.Time
	modified     time.Time

	stop  chan struct{} // closed when it is told to stop
	fail  chan Exit     // how its task is to end
	ended chan struct{} // closed when its task has ended
	said  update        // what its client last said, with the next batch
	gone  bool          // its client has reported its end: devices are free
}

type health struct {
	index uint64
	at    time.Time
}

func (a *allocation) setHealthy(index uint64) {
	a.healthy = &health{index, time.Now()}
	a.ModifyIndex, a.modified, a.job.index = index, time.Now(), index
}

// taskState of a task, with its last ten events.
type taskState struct {
	State       string
	Failed      bool
	Restarts    int
	LastRestart time.Time
	StartedAt   time.Time
	FinishedAt  time.Time
	Events      []document
}

// add notes what has become of the task. details are Nomad's own second telling.
func (t *taskState) add(kind, message string, at time.Time, more, details document) {
	if details == nil {
		details = document{}
	}
	e := document{"Type": kind, "Time": at.UnixNano(), "DisplayMessage": message, "Details": details, "Message": "",
		"ExitCode": 0, "Signal": 0, "DriverError": "", "DriverMessage": "", "SetupError": "", "RestartReason": "", "FailsTask": false,
		"DiskLimit": 0, "DownloadError": "", "FailedSibling": "", "GenericSource": "", "KillError": "", "KillReason": "", "KillTimeout": 0,
		"StartDelay": 0, "TaskSignal": "", "TaskSignalReason": "", "ValidationError": "", "VaultError": ""}
	for k, v := range more {
		e[k] = v
	}
	t.Events = append(t.Events, e)
	if over := len(t.Events) - 10; over > 0 {
		t.Events = append([]document(nil), t.Events[over:]...)
	}
}

func (t *taskState) copy() *taskState {
	c := *t
	c.Events = append([]document(nil), t.Events...)
	return &c
}

func (t *taskState) document() document {
	return document{"State": t.State, "Failed": t.Failed, "Restarts": t.Restarts, "LastRestart": moment(t.LastRestart), "Paused": "",
		"StartedAt": moment(t.StartedAt), "FinishedAt": moment(t.FinishedAt), "Events": t.Events}
}

// moment is null for no time, as Nomad writes it.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

func (a *allocation) name() string { return fmt.Sprintf("%s.%s[%d]", a.job.ID, a.group.Name, a.Index) }

func (a *allocation) terminal() bool {
	return a.Client == "complete" || a.Client == "failed" || a.Client == "lost"
}

// mainTask is the name of the task that serves.
func (a *allocation) mainTask() string {
	if t := a.group.main(); t != nil {
		return t.Name
	}
	return ""
}

// common are the fields that every form of an allocation has.
func (a *allocation) common() document {
	return document{"ID": a.ID, "EvalID": a.EvalID, "Name": a.name(), "Namespace": a.job.Namespace, "NodeID": a.node.ID,
		"NodeName": a.node.Name, "JobID": a.job.ID, "TaskGroup": a.group.Name, "DesiredStatus": a.Desired, "ClientStatus": a.Client,
		"CreateIndex": a.CreateIndex, "ModifyIndex": a.ModifyIndex, "CreateTime": a.created.UnixNano(), "ModifyTime": a.modified.UnixNano()}
}

// stub is the allocation as lists have it; its resources must be asked for.
func (a *allocation) stub(resources bool) document {
	d := a.common()
	d["JobType"], d["JobVersion"] = a.job.Type, a.version
	d["DesiredDescription"], d["ClientDescription"] = a.DesiredWhy, a.ClientWhy
	d["TaskStates"], d["DesiredTransition"] = a.taskStates(), a.transition()
	d["DeploymentStatus"], d["FollowupEvalID"], d["NextAllocation"] = a.deploymentStatus(), a.followup, a.Next
	d["RescheduleTracker"], d["PreemptedAllocations"], d["PreemptedByAllocation"] = a.rescheduleTracker(), nil, ""
	if resources {
		d["AllocatedResources"] = a.resources()
	}
	return d
}

// told is the allocation as the event stream has it: whole, without its job,
// and without the fields that are empty.
func (a *allocation) told() document {
	d := a.common()
	d["AllocModifyIndex"], d["AllocatedResources"], d["Metrics"] = a.allocModify, a.resources(), a.metrics
	d["SigningKeyID"] = "d18dbbf4-92b1-ab21-4554-4d23c2f82908"
	a.oldResources(d)
	for k, v := range map[string]string{"DesiredDescription": a.DesiredWhy, "ClientDescription": a.ClientWhy, "NextAllocation": a.Next,
		"FollowupEvalID": a.followup, "DeploymentID": a.deployment} {
		if v != "" {
			d[k] = v
		}
	}
	if a.previous != nil {
		d["PreviousAllocation"] = a.previous.ID
	}
	if a.states != nil {
		d["TaskStates"] = a.taskStates()
		d["NetworkStatus"] = document{"Address": "", "AddressIPv6": "", "DNS": nil, "InterfaceName": ""}
	}
	if s := a.deploymentStatus(); s != nil {
		d["DeploymentStatus"] = s
	}
	if a.migrate {
		d["DesiredTransition"] = a.transition()
	}
	if t := a.rescheduleTracker(); t != nil {
		d["RescheduleTracker"] = t
	}
	return d
}

// document is the allocation as GET /v1/allocation/:id has it, with its job.
func (a *allocation) document() document {
	d := a.told()
	d["Job"] = a.job.document()
	return d
}

func (a *allocation) taskStates() any {
	if a.states == nil {
		return nil // until the client has spoken
	}
	d := document{}
	for name, s := range a.states {
		d[name] = s.document()
	}
	return d
}

func (a *allocation) transition() document {
	d := document{"ForceReschedule": nil, "Migrate": nil, "MigrateDisablePlacement": nil, "NoShutdownDelay": nil, "Reschedule": nil}
	if a.migrate {
		d["Migrate"] = true
	}
	return d
}

func (a *allocation) deploymentStatus() any {
	if a.healthy == nil {
		return nil
	}
	return document{"Canary": false, "Healthy": true, "ModifyIndex": a.healthy.index, "Timestamp": a.healthy.at.UTC()}
}

func (a *allocation) rescheduleTracker() any {
	if a.previous == nil || a.previous.Client != "failed" {
		return nil
	}
	return document{"Events": []document{{"Delay": a.group.RescheduleDelay, "PrevAllocID": a.previous.ID, "PrevNodeID": a.previous.node.ID,
		"RescheduleTime": a.created.UnixNano()}}, "LastReschedule": "ok"}
}

func (a *allocation) network() document {
	dynamic := []document{}
	for _, p := range a.group.Ports {
		dynamic = append(dynamic, document{"Label": p.Label, "Value": a.Ports[p.Label], "HostNetwork": "default"})
	}
	return document{"IP": "127.0.0.1", "DynamicPorts": dynamic}
}

func (a *allocation) resources() document {
	shared := document{"DiskMB": 300}
	if len(a.group.Ports) > 0 {
		ports := []document{}
		for _, p := range a.group.Ports {
			ports = append(ports, document{"Label": p.Label, "Value": a.Ports[p.Label], "HostIP": "127.0.0.1"})
		}
		shared["Ports"], shared["Networks"] = ports, []document{a.network()}
	}
	tasks, lifecycles := document{}, document{}
	for _, t := range a.group.Tasks {
		var devices any // null for none
		if shares := a.Devices[t.Name]; len(shares) > 0 {
			all := []document{}
			for _, g := range shares {
				all = append(all, document{"Vendor": g.Vendor, "Type": g.Type, "Name": g.Name, "DeviceIDs": g.IDs})
			}
			devices = all
		}
		tasks[t.Name] = document{"Cpu": document{"CpuShares": t.CPU, "ReservedCores": nil},
			"Memory": document{"MemoryMB": t.Memory, "MemoryMaxMB": 0}, "Networks": nil, "Devices": devices}
		lifecycles[t.Name] = nil
		if t.Hook != "" {
			lifecycles[t.Name] = document{"Hook": t.Hook, "Sidecar": false}
		}
	}
	return document{"Shared": shared, "Tasks": tasks, "TaskLifecycles": lifecycles}
}

// oldResources adds what Nomad still writes beside AllocatedResources.
func (a *allocation) oldResources(d document) {
	var cpu, memory int
	tasks := document{}
	var devices []document
	for _, t := range a.group.Tasks {
		cpu, memory = cpu+t.CPU, memory+t.Memory
		tasks[t.Name] = resources(t.CPU, t.Memory, 0)
		for _, g := range a.Devices[t.Name] {
			devices = append(devices, document{"Affinities": nil, "Constraints": nil, "Count": len(g.IDs), "Name": g.Vendor + "/" + g.Type + "/" + g.Name})
		}
	}
	whole, shared := resources(cpu, memory, 300), resources(0, 0, 300)
	whole["MemoryMaxMB"] = memory
	if len(a.group.Ports) > 0 {
		whole["Networks"], shared["Networks"] = []document{a.network()}, []document{a.network()}
	}
	if devices != nil {
		whole["Devices"] = devices
	}
	d["Resources"], d["SharedResources"], d["TaskResources"] = whole, shared, tasks
}

func (s *Server) listAllocations(w http.ResponseWriter, r *http.Request) {
	s.blocking(w, r, tableAllocs, func() (any, error) {
		stubs := []document{}
		for _, a := range s.allocs {
			if in(r, a.job.Namespace) {
				stubs = append(stubs, a.stub(r.URL.Query().Get("resources") == "true"))
			}
		}
		return filtered(r, stubs)
	})
}

// jobAllocations ignores filter and resources, and knows no 404.
func (s *Server) jobAllocations(w http.ResponseWriter, r *http.Request) {
	index := func() uint64 {
		if j := s.named(r); j != nil {
			return j.index
		}
		return s.index
	}
	s.blockingOn(w, r, index, func() (any, error) {
		stubs := []document{}
		for _, a := range s.allocs {
			if a.job.ID == r.PathValue("id") && in(r, a.job.Namespace) {
				stubs = append(stubs, a.stub(false))
			}
		}
		return stubs, nil
	})
}

func (s *Server) getAllocation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.lookUp(w, r, "alloc not found"); a != nil {
		answer(w, s.tables[tableAllocs], a.document())
	}
}

// lookUp finds the allocation of the path, and refuses where there is none.
// s.mu is held.
func (s *Server) lookUp(w http.ResponseWriter, r *http.Request, missing string) *allocation {
	id := r.PathValue("id")
	for _, a := range s.allocs {
		if a.ID == id {
			return a
		}
	}
	if len(id) != 36 {
		refuse(w, 500, "alloc lookup failed: index error: UUID must be 36 characters")
		return nil
	}
	refuse(w, 404, "%s", missing)
	return nil
}

// stopAllocation lets an allocation be replaced: the new one takes its index,
// and waits until the old one's task has ended.
func (s *Server) stopAllocation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookUp(w, r, "allocation not found")
	if a == nil {
		return
	}
	e := s.newEvaluation(a.job, "alloc-stop")
	lost := s.faults.loseStops > 0
	s.write([]string{tableAllocs, tableEvals}, func(index uint64) []event {
		e.CreateIndex, e.Modified, e.JobModify = index, index, a.job.jobModify
		a.ModifyIndex, a.allocModify, a.job.index = index, index, index
		a.migrate = a.Desired == "run"
		events := []event{allocEvent("AllocationUpdateDesiredStatus", a), evalEvent("AllocationUpdateDesiredStatus", e)}
		if lost { // another plan overwrites the mark before it is looked at
			s.faults.loseStops--
			a.migrate = false
		}
		return events
	})
	s.process(a.job, e)
	answer(w, s.index, document{"EvalID": e.ID, "Index": e.CreateIndex})
}
