package nomaddouble

import (
	"encoding/json"
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

	Constraints []constraint

	version                   uint64
	create, modify, jobModify uint64
	submitted                 time.Time
	stopped                   bool
	stable                    bool   // a deployment of it has succeeded
	status                    string // pending, running, dead
	index                     uint64 // of the last change to it or what belongs to it
	scalings                  map[string][]document
	versions                  []*job // as they were, newest first; the first is the present one
}

type group struct {
	Name             string
	Count            int
	Ports            []port
	MaxParallel      int // of the update block
	ProgressDeadline time.Duration
	Scaling          *scaling
	RestartInterval  time.Duration
	RestartAttempts  int
	RestartDelay     time.Duration
	Reschedule       bool
	RescheduleDelay  time.Duration
	ShutdownDelay    time.Duration
	LostAfter        time.Duration // of the disconnect block; 0: none
	Migrate          int           // how many a node drain takes at once
	Constraints      []constraint
	Tasks            []task
	doc              map[string]any
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
	CPU, Memory int // MHz, MiB
	Devices     []deviceAsk
	Constraints []constraint
}

type deviceAsk struct {
	Name        string
	Count       int
	Constraints []constraint
}

type constraint struct{ LTarget, RTarget, Operand string }

// wireJob is the part of a job document that the double understands.
type wireJob struct {
	ID, Name, Namespace, Type, NodePool *string
	Datacenters                         []string
	Constraints                         []constraint
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
		Update *struct {
			MaxParallel      *int
			ProgressDeadline *time.Duration
		}
		Scaling       *struct{ Min, Max *int }
		RestartPolicy *struct {
			Attempts *int
			Delay    *time.Duration
			Interval *time.Duration
		}
		ReschedulePolicy *struct {
			Attempts  *int
			Unlimited *bool
			Delay     *time.Duration
		}
		ShutdownDelay *time.Duration
		Disconnect    *struct{ LostAfter *time.Duration }
		Migrate       *struct{ MaxParallel *int }
		Constraints   []constraint
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
			Constraints []constraint
			Resources   *struct {
				CPU, MemoryMB *int
				Devices       []struct {
					Name        string
					Count       *int
					Constraints []constraint
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
	doc, err := canonical(doc)
	if err != nil {
		return nil, err
	}
	if raw, err = json.Marshal(doc); err != nil {
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
		Constraints: w.Constraints,
		scalings:    make(map[string][]document),
	}
	groups, _ := doc["TaskGroups"].([]any)
	for i, tg := range w.TaskGroups {
		g := &group{
			Name:            tg.Name,
			Count:           value(tg.Count, 1),
			MaxParallel:     1,
			RestartAttempts: 2,
			RestartDelay:    15 * time.Second,
			Reschedule:      true,
			RescheduleDelay: 30 * time.Second,
			ShutdownDelay:   value(tg.ShutdownDelay, 0),
			Migrate:         1,
			Constraints:     tg.Constraints,
		}
		g.doc, _ = groups[i].(map[string]any)
		if tg.Disconnect != nil {
			g.LostAfter = value(tg.Disconnect.LostAfter, 0)
		}
		if tg.Migrate != nil {
			g.Migrate = value(tg.Migrate.MaxParallel, 1)
		}
		if tg.Update != nil {
			g.MaxParallel = value(tg.Update.MaxParallel, 1)
			g.ProgressDeadline = value(tg.Update.ProgressDeadline, 10*time.Minute)
		}
		if tg.Scaling != nil {
			g.Scaling = &scaling{Min: value(tg.Scaling.Min, 0), Max: value(tg.Scaling.Max, 0)}
		}
		if r := tg.RestartPolicy; r != nil {
			g.RestartAttempts = value(r.Attempts, 2)
			g.RestartDelay = value(r.Delay, 15*time.Second)
			g.RestartInterval = value(r.Interval, 30*time.Minute)
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
				Constraints: wt.Constraints,
			}
			if wt.Lifecycle != nil {
				t.Hook = wt.Lifecycle.Hook
			}
			if wt.Resources != nil {
				t.CPU, t.Memory = value(wt.Resources.CPU, 100), value(wt.Resources.MemoryMB, 300)
				for _, d := range wt.Resources.Devices {
					t.Devices = append(t.Devices, deviceAsk{Name: d.Name, Count: value(d.Count, 1), Constraints: d.Constraints})
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
	d["Version"] = j.version
	d["CreateIndex"] = j.create
	d["ModifyIndex"] = j.modify
	d["JobModifyIndex"] = j.jobModify
	d["SubmitTime"] = j.submitted.UnixNano()
	d["Stop"] = j.stopped
	d["Stable"] = j.stable
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

func value[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}
