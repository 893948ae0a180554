package nomaddouble

import (
	"fmt"
	"time"
)

// allocation of one group on one node.
type allocation struct {
	ID    string
	job   *job
	group *group
	node  *node
	Index int

	EvalID      string
	Desired     string
	DesiredWhy  string
	Client      string
	ClientWhy   string
	Next        string // replacement
	Ports       map[string]int
	Devices     map[string][]granted
	states      map[string]*taskState // as the servers know them
	CreateIndex uint64
	ModifyIndex uint64
	created     time.Time
	modified    time.Time

	stop    chan struct{} // closed when it is told to stop
	fail    chan exit     // how a pretended task is to end
	pending []update      // what its client will say with the next batch
	gone    bool          // its client has reported its end: devices are free
}

// taskState of a task, with its last ten events.
type taskState struct {
	State      string
	Failed     bool
	Restarts   int
	StartedAt  time.Time
	FinishedAt time.Time
	Events     []document
}

func (t *taskState) add(kind, message string, at time.Time, more document) {
	e := document{"Type": kind, "Time": at.UnixNano(), "DisplayMessage": message, "Details": document{}, "Message": "",
		"ExitCode": 0, "Signal": 0, "DriverError": "", "SetupError": "", "RestartReason": "", "FailsTask": false}
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
	return document{"State": t.State, "Failed": t.Failed, "Restarts": t.Restarts, "LastRestart": nil, "Paused": "",
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

// document returns the allocation as a list with resources has it.
func (a *allocation) document() document {
	var ports, dynamic []document
	for _, p := range a.group.Ports {
		ports = append(ports, document{"Label": p.Label, "Value": a.Ports[p.Label], "To": 0, "HostIP": "127.0.0.1"})
		dynamic = append(dynamic, document{"Label": p.Label, "Value": a.Ports[p.Label], "To": 0, "HostNetwork": "default"})
	}
	tasks := document{}
	for _, t := range a.group.Tasks {
		devices := []document{}
		for _, g := range a.Devices[t.Name] {
			devices = append(devices, document{"Vendor": g.Vendor, "Type": g.Type, "Name": g.Name, "DeviceIDs": g.IDs})
		}
		tasks[t.Name] = document{"Cpu": document{"CpuShares": 100}, "Memory": document{"MemoryMB": 64}, "Networks": nil, "Devices": devices}
	}
	var states any // null until the client has spoken
	if a.states != nil {
		d := document{}
		for name, s := range a.states {
			d[name] = s.document()
		}
		states = d
	}
	return document{
		"ID": a.ID, "EvalID": a.EvalID, "Name": a.name(), "Namespace": a.job.Namespace, "NodeID": a.node.ID,
		"NodeName": a.node.Name, "JobID": a.job.ID, "JobType": a.job.Type, "JobVersion": a.job.version, "TaskGroup": a.group.Name,
		"DesiredStatus": a.Desired, "DesiredDescription": a.DesiredWhy, "ClientStatus": a.Client, "ClientDescription": a.ClientWhy,
		"TaskStates": states, "DeploymentStatus": nil, "FollowupEvalID": "", "NextAllocation": a.Next, "RescheduleTracker": nil,
		"PreemptedAllocations": nil, "PreemptedByAllocation": "", "CreateIndex": a.CreateIndex, "ModifyIndex": a.ModifyIndex,
		"CreateTime": a.created.UnixNano(), "ModifyTime": a.modified.UnixNano(),
		"AllocatedResources": document{
			"Shared": document{"DiskMB": 300, "Ports": ports, "Networks": []document{{"IP": "127.0.0.1", "DynamicPorts": dynamic}}},
			"Tasks":  tasks,
		},
	}
}

// evaluation of one job.
type evaluation struct {
	ID, JobID, Namespace  string
	Status                string // pending, complete, blocked, canceled
	TriggeredBy           string
	Previous, Blocked     string
	Failed                map[string]document // group → why
	Queued                map[string]int
	JobModify             uint64
	CreateIndex, Modified uint64
	created               time.Time
}

func (e *evaluation) document() document {
	d := document{"ID": e.ID, "JobID": e.JobID, "Namespace": e.Namespace, "Status": e.Status, "TriggeredBy": e.TriggeredBy,
		"Type": "service", "Priority": 50, "JobModifyIndex": e.JobModify, "CreateIndex": e.CreateIndex, "ModifyIndex": e.Modified,
		"CreateTime": e.created.UnixNano(), "ModifyTime": e.created.UnixNano()}
	if e.Previous != "" {
		d["PreviousEval"] = e.Previous
	}
	if e.Blocked != "" {
		d["BlockedEval"] = e.Blocked
	}
	if len(e.Failed) > 0 {
		d["FailedTGAllocs"] = e.Failed
	}
	if e.Queued != nil {
		d["QueuedAllocations"] = e.Queued
	}
	return d
}
