package localfleet

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// taskDirVariable names the variable by which a process is known to belong to a
// task of an allocation, also after its parents are gone.
const taskDirVariable = "NOMAD_TASK_DIR"

// newAllocationID is random and has the shape of a UUID, as in Nomad.
func newAllocationID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// environment of one task of a, complete.
func (c Config) environment(a *allocation, task *jobs.Task) map[string]string {
	env := maps.Clone(c.Env)
	maps.Copy(env, map[string]string{
		"NOMAD_ALLOC_ID":       a.id,
		"NOMAD_SHORT_ALLOC_ID": a.id[:8],
		"NOMAD_ALLOC_INDEX":    fmt.Sprint(a.index),
		"NOMAD_ALLOC_NAME":     fmt.Sprintf("%s.%s[%d]", a.ref.Job, a.ref.Group, a.index),
		"NOMAD_JOB_ID":         a.ref.Job,
		"NOMAD_JOB_NAME":       a.ref.Job,
		"NOMAD_GROUP_NAME":     a.ref.Group,
		"NOMAD_TASK_NAME":      task.Name,
		"NOMAD_NAMESPACE":      a.ref.Namespace,
		"NOMAD_REGION":         c.Region,
		"NOMAD_DC":             c.Datacenter,
		"NOMAD_SECRETS_DIR":    filepath.Join(a.taskDir(task), "secrets"),
		"NOMAD_ALLOC_DIR":      a.sharedDir(),
		taskDirVariable:        a.localDir(task),
	})
	for label, port := range a.ports {
		maps.Copy(env, map[string]string{
			"NOMAD_IP_" + label:        host,
			"NOMAD_PORT_" + label:      fmt.Sprint(port),
			"NOMAD_ADDR_" + label:      address(port),
			"NOMAD_HOST_IP_" + label:   host,
			"NOMAD_HOST_PORT_" + label: fmt.Sprint(port),
			"NOMAD_HOST_ADDR_" + label: address(port),
		})
	}
	known := c.references(env)
	for name, value := range task.Env {
		env[name] = jobs.Interpolate(value, known)
	}
	return env
}

// references are what ${…} may name in a job spec: the environment and what is
// known of the node.
func (c Config) references(env map[string]string) map[string]string {
	known := maps.Clone(env)
	maps.Copy(known, map[string]string{
		"node.unique.name": c.Node,
		"node.unique.id":   c.Node,
		"node.region":      c.Region,
		"node.datacenter":  c.Datacenter,
	})
	return known
}

// commandLine resolves the program of a task and its arguments, the first of
// which is the command as written.
func (c Config) commandLine(a *allocation, task *jobs.Task, env map[string]string) (program string, args []string, err error) {
	known := c.references(env)
	command := jobs.Interpolate(task.Command, known)
	args = append(args, command)
	for _, arg := range task.Args {
		args = append(args, jobs.Interpolate(arg, known))
	}
	switch {
	case command == "pilotlight":
		program = c.Bin
	case filepath.IsAbs(command):
		program = command
	case strings.Contains(command, "/"):
		program = filepath.Join(a.taskDir(task), command)
	default:
		for _, dir := range filepath.SplitList(env["PATH"]) {
			if candidate := filepath.Join(dir, command); filepath.IsAbs(dir) && executable(candidate) {
				return candidate, args, nil
			}
		}
		return "", nil, fmt.Errorf("command %q not found in PATH %s", command, env["PATH"])
	}
	if _, err := os.Stat(program); err != nil {
		return "", nil, fmt.Errorf("command %q not found: %w", command, err)
	}
	return program, args, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// environ is env as a process takes it, sorted.
func environ(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
