package localfleet

import (
	"errors"
	"fmt"
	"os/user"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// DriverError says that a task asks for a driver that the local fleet has not.
type DriverError struct {
	Driver string
	Task   string
}

func (e *DriverError) Error() string {
	return fmt.Sprintf("the local fleet cannot run driver %q of task %s; it runs raw_exec and exec", e.Driver, e.Task)
}

// runnable returns the group that ref names, or everything that keeps the local
// fleet from running it.
func runnable(spec *jobs.Spec, ref jobs.Ref) (*jobs.Group, error) {
	if spec.ID != ref.Job {
		return nil, fmt.Errorf("the spec is of job %s", spec.ID)
	}
	if ref.Group == "" {
		return nil, errors.New("no group is named")
	}
	found := spec.GroupNamed(ref.Group)
	if found == nil {
		return nil, fmt.Errorf("job %s has no group %s", ref.Job, ref.Group)
	}
	g := *found
	if main := g.Main(); main == nil || main.Lifecycle != "" {
		return nil, fmt.Errorf("group %s has no main task", g.Name)
	}
	var faults []error
	for i := range g.Tasks {
		faults = append(faults, runnableTask(&g.Tasks[i]))
	}
	return &g, errors.Join(faults...)
}

func runnableTask(t *jobs.Task) error {
	var faults []error
	if t.Driver != "raw_exec" && t.Driver != "exec" {
		return &DriverError{Driver: t.Driver, Task: t.Name}
	}
	if t.Name == "" || t.Name == "alloc" || strings.HasPrefix(t.Name, ".") || strings.ContainsAny(t.Name, "/\x00") {
		faults = append(faults, fmt.Errorf("task name %q cannot name a directory", t.Name))
	}
	if t.Command == "" {
		faults = append(faults, fmt.Errorf("task %s has no command", t.Name))
	}
	if _, err := killSignal(t.KillSignal); err != nil {
		faults = append(faults, fmt.Errorf("task %s: %w", t.Name, err))
	}
	if t.Lifecycle != "" && t.Lifecycle != "prestart" {
		faults = append(faults, fmt.Errorf("the local fleet cannot run the %s task %s; it runs main and prestart tasks", t.Lifecycle, t.Name))
	}
	if t.User != "" {
		if own, err := user.Current(); err != nil || own.Username != t.User && own.Uid != t.User {
			faults = append(faults, fmt.Errorf("the local fleet cannot run task %s as user %s; it runs tasks as its own user", t.Name, t.User))
		}
	}
	return errors.Join(faults...)
}
