package nomaddouble

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// document is a JSON object as Nomad writes it, keys capitalised.
type document map[string]any

// job is what the double reads of a job document; it keeps the document as it
// came and writes only what a server sets.
type job struct {
	doc document // as registered

	ID, Namespace, Type string
	Datacenters         []string
	NodePool            string
	Groups              []*group

	version                   uint64
	create, modify, jobModify uint64
	submitted                 time.Time
	stopped                   bool
	status                    string // pending, running, dead
	index                     uint64 // of the last change to it or what belongs to it
	scalings                  map[string][]document
	deploymentUntil           time.Time
}

type group struct {
	Name            string
	Count           int
	Ports           []port
	MaxParallel     int // of the update block
	Scaling         *scaling
	RestartAttempts int
	RestartDelay    time.Duration
	Reschedule      bool
	RescheduleDelay time.Duration
	ShutdownDelay   time.Duration
	Tasks           []task
}

type port struct {
	Label  string
	Static int
}

type scaling struct{ Min, Max int }

type task struct {
	Name        string
	Driver      string
	Command     string
	Args        []string
	Env         map[string]string
	Leader      bool
	Hook        string
	KillTimeout time.Duration
	KillSignal  string
	Devices     []deviceAsk
}

type deviceAsk struct {
	Name  string
	Count int
}

// wireJob is the part of a job document that the double understands.
type wireJob struct {
	ID, Name, Namespace, Type, NodePool *string
	Datacenters                         []string
	Periodic, ParameterizedJob          *document
	Stop                                *bool
	TaskGroups                          []struct {
		Name     string
		Count    *int
		Networks []struct {
			DynamicPorts, ReservedPorts []struct {
				Label string
				Value int
			}
		}
		Update        *struct{ MaxParallel *int }
		Scaling       *struct{ Min, Max *int }
		RestartPolicy *struct {
			Attempts *int
			Delay    *time.Duration
		}
		ReschedulePolicy *struct {
			Attempts  *int
			Unlimited *bool
			Delay     *time.Duration
		}
		ShutdownDelay *time.Duration
		Tasks         []struct {
			Name, Driver, KillSignal string
			Leader                   bool
			Lifecycle                *struct{ Hook string }
			Config                   struct {
				Command string
				Args    []string
			}
			Env         map[string]string
			KillTimeout *time.Duration
			Resources   *struct {
				Devices []struct {
					Name  string
					Count *int
				}
			}
		}
	}
}

// readJob understands a job document as it is registered.
func readJob(raw json.RawMessage) (*job, error) {
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	var w wireJob
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, err
	}
	j := &job{
		doc:         doc,
		ID:          value(w.ID, ""),
		Namespace:   value(w.Namespace, "default"),
		Type:        value(w.Type, "service"),
		Datacenters: w.Datacenters,
		NodePool:    value(w.NodePool, "default"),
		scalings:    make(map[string][]document),
	}
	if j.NodePool == "" {
		j.NodePool = "default"
	}
	for _, tg := range w.TaskGroups {
		g := &group{
			Name:            tg.Name,
			Count:           value(tg.Count, 1),
			MaxParallel:     1,
			RestartAttempts: 2,
			RestartDelay:    15 * time.Second,
			Reschedule:      true,
			RescheduleDelay: 30 * time.Second,
			ShutdownDelay:   value(tg.ShutdownDelay, 0),
		}
		if tg.Update != nil {
			g.MaxParallel = value(tg.Update.MaxParallel, 1)
		}
		if tg.Scaling != nil {
			g.Scaling = &scaling{Min: value(tg.Scaling.Min, 0), Max: value(tg.Scaling.Max, 0)}
		}
		if r := tg.RestartPolicy; r != nil {
			g.RestartAttempts = value(r.Attempts, 2)
			g.RestartDelay = value(r.Delay, 15*time.Second)
		}
		if r := tg.ReschedulePolicy; r != nil {
			g.Reschedule = value(r.Unlimited, false) || value(r.Attempts, 0) > 0
			g.RescheduleDelay = value(r.Delay, 30*time.Second)
		}
		for _, n := range tg.Networks {
			for _, p := range n.DynamicPorts {
				g.Ports = append(g.Ports, port{Label: p.Label})
			}
			for _, p := range n.ReservedPorts {
				g.Ports = append(g.Ports, port{Label: p.Label, Static: p.Value})
			}
		}
		for _, wt := range tg.Tasks {
			t := task{
				Name: wt.Name, Driver: wt.Driver, Command: wt.Config.Command, Args: wt.Config.Args, Env: wt.Env,
				Leader: wt.Leader, KillSignal: wt.KillSignal, KillTimeout: value(wt.KillTimeout, 5*time.Second),
			}
			if wt.Lifecycle != nil {
				t.Hook = wt.Lifecycle.Hook
			}
			if wt.Resources != nil {
				for _, d := range wt.Resources.Devices {
					t.Devices = append(t.Devices, deviceAsk{Name: d.Name, Count: value(d.Count, 1)})
				}
			}
			g.Tasks = append(g.Tasks, t)
		}
		j.Groups = append(j.Groups, g)
	}
	return j, nil
}

func (j *job) group(name string) *group {
	for _, g := range j.Groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// main is the task that serves: the leader, else the first without a hook.
func (g *group) main() *task {
	var first *task
	for i := range g.Tasks {
		t := &g.Tasks[i]
		if t.Leader {
			return t
		}
		if t.Hook == "" && first == nil {
			first = t
		}
	}
	return first
}

// document returns the job as GET /v1/job/:id answers it.
func (j *job) document() document {
	d := maps.Clone(j.doc)
	d["Namespace"] = j.Namespace
	d["NodePool"] = j.NodePool
	d["Version"] = j.version
	d["CreateIndex"] = j.create
	d["ModifyIndex"] = j.modify
	d["JobModifyIndex"] = j.jobModify
	d["SubmitTime"] = j.submitted.UnixNano()
	d["Stop"] = j.stopped
	d["Status"] = j.status
	if groups, ok := d["TaskGroups"].([]any); ok {
		groups = slices.Clone(groups)
		for i := range groups {
			if g, ok := groups[i].(map[string]any); ok {
				g = maps.Clone(g)
				g["Count"] = j.Groups[i].Count
				groups[i] = g
			}
		}
		d["TaskGroups"] = groups
	}
	return d
}

// stub returns the job as GET /v1/jobs lists it.
func (j *job) stub() document {
	return document{
		"ID": j.ID, "Name": j.ID, "ParentID": "", "Namespace": j.Namespace, "Datacenters": j.Datacenters,
		"NodePool": j.NodePool, "Type": j.Type, "Priority": 50, "Periodic": false, "ParameterizedJob": false,
		"Stop": j.stopped, "Status": j.status, "StatusDescription": "", "JobSummary": nil, "Multiregion": nil,
		"CreateIndex": j.create, "ModifyIndex": j.modify, "JobModifyIndex": j.jobModify, "SubmitTime": j.submitted.UnixNano(),
	}
}

// invalid returns the text of what registration refuses, "" if nothing.
func (j *job) invalid() string {
	for _, g := range j.Groups {
		if g.Scaling == nil {
			continue
		}
		var what string
		switch {
		case g.Count < g.Scaling.Min:
			what = "task group count must not be less than minimum count in scaling policy"
		case g.Scaling.Max > 0 && g.Count > g.Scaling.Max:
			what = "task group count must not be greater than maximum count in scaling policy"
		default:
			continue
		}
		const one = "1 error occurred:\n\t* "
		return fmt.Sprintf(one+"Task group %s validation failed: "+one+"Task group scaling policy validation failed: "+one+"Scaling policy invalid: %s\n\n\n\n\n\n", g.Name, what)
	}
	return ""
}

func value[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}
