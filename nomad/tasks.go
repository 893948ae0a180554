package nomad

import (
	"fmt"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// taskInfo is what the picture keeps of one task of a group.
type taskInfo struct {
	name    string
	driver  string
	hook    string // of its lifecycle block, "" for a task without
	sidecar bool
	ask     footprint
}

// footprint is what a task takes of a node besides devices.
type footprint struct {
	cpuMHz    int64
	memoryMiB int64
}

func (f footprint) plus(g footprint) footprint {
	return footprint{f.cpuMHz + g.cpuMHz, f.memoryMiB + g.memoryMiB}
}

func (f footprint) max(g footprint) footprint {
	return footprint{max(f.cpuMHz, g.cpuMHz), max(f.memoryMiB, g.memoryMiB)}
}

func tasksOf(tg *api.TaskGroup) []taskInfo {
	tasks := make([]taskInfo, 0, len(tg.Tasks))
	for _, t := range tg.Tasks {
		info := taskInfo{name: t.Name, driver: t.Driver}
		if t.Lifecycle != nil {
			info.hook, info.sidecar = t.Lifecycle.Hook, t.Lifecycle.Sidecar
		}
		if t.Resources != nil {
			info.ask = footprint{int64(deref(t.Resources.CPU)), int64(deref(t.Resources.MemoryMB))}
		}
		tasks = append(tasks, info)
	}
	return tasks
}

// before reports whether the task ends before the serving one starts.
func (g groupInfo) before(task string) bool {
	for _, t := range g.tasks {
		if t.name == task {
			return t.hook == api.TaskLifecycleHookPrestart && !t.sidecar
		}
	}
	return false
}

// ask is what one allocation of the group takes of a node: tasks that end before
// the others start share their place with them.
func (g groupInfo) ask() footprint {
	var before, serving, after, beside footprint
	for _, t := range g.tasks {
		switch {
		case t.sidecar:
			beside = beside.plus(t.ask)
		case t.hook == api.TaskLifecycleHookPrestart:
			before = before.plus(t.ask)
		case t.hook == api.TaskLifecycleHookPoststop:
			after = after.plus(t.ask)
		default:
			serving = serving.plus(t.ask)
		}
	}
	return serving.max(before).max(after).plus(beside)
}

// constraintsOf puts the constraints of a device ask into words.
func constraintsOf(d *api.RequestedDevice) string {
	var all []string
	for _, c := range d.Constraints {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.LTarget, c.Operand, c.RTarget)))
	}
	return strings.Join(all, " and ")
}
