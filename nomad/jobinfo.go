package nomad

import (
	"fmt"
	"path"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/pilotlight/pilotlight/jobs"
)

// jobInfo is what the picture keeps of a job.
type jobInfo struct {
	index       uint64    // ModifyIndex: which of two infos is newer
	modifyIndex uint64    // JobModifyIndex: what a scale compares
	created     uint64    // CreateIndex: another one is another job of that name
	version     uint64    // one more with each change of the job, also of a count
	submitted   time.Time // when this version was made
	stopped     bool
	scalable    bool // type service, neither periodic nor parameterized
	datacenters []string
	pool        string
	groups      map[string]groupInfo
}

type groupInfo struct {
	count       int
	mainTask    string // the task that serves
	devices     []deviceAsk
	tasks       []taskInfo
	deployments bool // a scale opens a deployment, which blocks the next
}

// deviceAsk is one device block of a task: nvidia/gpu, count 1.
type deviceAsk struct {
	name        string
	count       int
	constraints string // on its attributes, in words; "" if there are none
}

func toJobInfo(j *api.Job) jobInfo {
	wholeJob(j)
	info := jobInfo{
		index:       deref(j.ModifyIndex),
		modifyIndex: deref(j.JobModifyIndex),
		created:     deref(j.CreateIndex),
		version:     deref(j.Version),
		submitted:   fromNano(deref(j.SubmitTime)),
		stopped:     deref(j.Stop),
		scalable:    deref(j.Type) == api.JobTypeService && !j.IsPeriodic() && !j.IsParameterized(),
		datacenters: j.Datacenters,
		pool:        deref(j.NodePool),
		groups:      make(map[string]groupInfo, len(j.TaskGroups)),
	}
	for _, tg := range j.TaskGroups {
		g := groupInfo{
			count:       deref(tg.Count),
			mainTask:    mainTask(tg),
			tasks:       tasksOf(tg),
			deployments: tg.Update != nil && deref(tg.Update.MaxParallel) > 0,
		}
		for _, t := range tg.Tasks {
			if t.Resources == nil {
				continue
			}
			for _, d := range t.Resources.Devices {
				count := 1
				if d.Count != nil {
					count = int(*d.Count)
				}
				g.devices = append(g.devices, deviceAsk{name: d.Name, count: count, constraints: constraintsOf(d)})
			}
		}
		info.groups[deref(tg.Name)] = g
	}
	return info
}

// mainTask is the leader, else the first task without a lifecycle hook.
func mainTask(tg *api.TaskGroup) string {
	var name string
	for _, t := range tg.Tasks {
		if t.Leader {
			return t.Name
		}
		if t.Lifecycle == nil && name == "" {
			name = t.Name
		}
	}
	return name
}

// group finds the named group, or the only one if name is "".
func (i jobInfo) group(name string) (string, groupInfo, bool) {
	if name == "" && len(i.groups) == 1 {
		for n, g := range i.groups {
			return n, g, true
		}
	}
	g, ok := i.groups[name]
	return name, g, ok
}

// usable reports why the group cannot be scaled, nil if it can.
func (i jobInfo) usable(group string) error {
	switch _, _, ok := i.group(group); {
	case !ok:
		return jobs.ErrUnknownGroup
	case !i.scalable:
		return jobs.ErrWrongType
	case i.stopped:
		return jobs.ErrStopped
	}
	return nil
}

// mayUse reports whether the job's datacenters and pool allow the node.
func (i jobInfo) mayUse(n *api.NodeListStub) bool {
	if i.pool != "" && i.pool != api.NodePoolAll && n.NodePool != "" && n.NodePool != i.pool {
		return false
	}
	for _, dc := range i.datacenters {
		if ok, err := path.Match(dc, n.Datacenter); err == nil && ok {
			return true
		}
	}
	return len(i.datacenters) == 0
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// jobKey names a job in its namespace.
type jobKey struct{ namespace, id string }

func (k jobKey) String() string { return fmt.Sprintf("%s/%s", k.namespace, k.id) }
