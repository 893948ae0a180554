package nomad

import (
	"slices"

	"github.com/hashicorp/nomad/api"
)

// What Nomad answers may have null where a list has an element, from a proxy, a
// plugin or a server of another version. Everything that is read is made whole
// here, so that nobody else has to look.

// whole returns list without nulls.
func whole[T any](list []*T) []*T {
	return slices.DeleteFunc(list, func(p *T) bool { return p == nil })
}

// wholeAnswer makes whole what a read was decoded into; v points to it.
func wholeAnswer(v any) {
	switch v := v.(type) {
	case *[]*api.AllocationListStub:
		*v = wholeAllocations(*v)
	case *[]*api.JobListStub:
		*v = whole(*v)
	case *[]*api.Evaluation:
		*v = whole(*v)
	case *[]*api.NodeListStub:
		*v = wholeNodes(*v)
	}
}

func wholeAllocations(list []*api.AllocationListStub) []*api.AllocationListStub {
	list = whole(list)
	for _, a := range list {
		for _, state := range a.TaskStates {
			if state != nil {
				state.Events = whole(state.Events)
			}
		}
		if a.AllocatedResources == nil {
			continue
		}
		a.AllocatedResources.Shared.Networks = whole(a.AllocatedResources.Shared.Networks)
		for _, t := range a.AllocatedResources.Tasks {
			if t != nil {
				t.Devices, t.Networks = whole(t.Devices), whole(t.Networks)
			}
		}
	}
	return list
}

func wholeNodes(list []*api.NodeListStub) []*api.NodeListStub {
	list = whole(list)
	for _, n := range list {
		if n.NodeResources == nil {
			continue
		}
		n.NodeResources.Devices = whole(n.NodeResources.Devices)
		for _, d := range n.NodeResources.Devices {
			d.Instances = whole(d.Instances)
		}
	}
	return list
}

// wholeJob gives each group a name too: Nomad's client takes it
// for granted.
func wholeJob(j *api.Job) {
	j.TaskGroups = whole(j.TaskGroups)
	for _, tg := range j.TaskGroups {
		if tg.Name == nil {
			tg.Name = new("")
		}
		tg.Tasks = whole(tg.Tasks)
		for _, t := range tg.Tasks {
			if t.Resources == nil {
				continue
			}
			t.Resources.Devices = whole(t.Resources.Devices)
			for _, d := range t.Resources.Devices {
				d.Constraints = whole(d.Constraints)
			}
		}
	}
}

func wholeDiff(d *api.JobDiff) {
	d.Fields, d.Objects, d.TaskGroups = whole(d.Fields), wholeObjects(d.Objects), whole(d.TaskGroups)
	for _, tg := range d.TaskGroups {
		tg.Fields, tg.Objects, tg.Tasks = whole(tg.Fields), wholeObjects(tg.Objects), whole(tg.Tasks)
		for _, t := range tg.Tasks {
			t.Fields, t.Objects = whole(t.Fields), wholeObjects(t.Objects)
		}
	}
}

func wholeObjects(list []*api.ObjectDiff) []*api.ObjectDiff {
	list = whole(list)
	for _, o := range list {
		o.Fields, o.Objects = whole(o.Fields), wholeObjects(o.Objects)
	}
	return list
}
