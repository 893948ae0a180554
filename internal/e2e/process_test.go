package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a running program.
type process struct {
	cmd   *exec.Cmd
	said  *transcript
	ended chan struct{} // closed once it has ended
	code  int           // exit code, -1 if a signal ended it; after ended
}

// startProcess starts a program that the test's end kills if it still runs.
func startProcess(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	// Not the test's context: that ends before the cleanups, which want to stop it
	// in order.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{cmd: cmd, said: &transcript{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.said, p.said
	cmd.WaitDelay = 5 * time.Second // a child may hold the output open
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the exit code says it
		p.code = cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s said:\n%s", filepath.Base(name), strings.Join(args, " "), p.said)
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends one, if the process still runs.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends it with SIGKILL and waits for that.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// exit waits for the end and returns the exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s has not ended within %v", p.cmd.Args[0], patience)
	}
	return p.code
}

// running reports an error once the process has ended.
func (p *process) running() error {
	select {
	case <-p.ended:
		return fmt.Errorf("it has ended with exit code %d", p.code)
	default:
		return nil
	}
}

// processesWhere returns the ids of the living processes for which holds, given
// the process' folder in /proc.
func processesWhere(t *testing.T, holds func(dir string) bool) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(dirs) == 0 {
		t.Skip("there is no /proc here to find child processes in")
	}
	var pids []int
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && holds(dir) && !zombie(dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// startedWith reports whether a process had this variable, as NAME=VALUE, in the
// environment that it was started with.
func startedWith(dir, variable string) bool {
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	return err == nil && bytes.Contains(append([]byte{0}, env...), []byte("\x00"+variable+"\x00"))
}

// worksIn reports whether a process works in a folder or below it.
func worksIn(dir, folder string) bool {
	cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
	return err == nil && strings.HasPrefix(cwd+"/", folder+"/")
}

// zombie reports whether a process has ended and only waits to be reaped.
func zombie(dir string) bool {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	_, rest, ok := bytes.Cut(stat, []byte(") "))
	return ok && bytes.HasPrefix(rest, []byte("Z"))
}
