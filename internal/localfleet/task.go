package localfleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// defaultKillTimeout is Nomad's.
const defaultKillTimeout = 5 * time.Second

// taskRun is one task of an allocation with all its restarts.
type taskRun struct {
	fleet    *Fleet
	alloc    *allocation
	task     *jobs.Task
	serves   bool // it is the task whose state is the allocation's
	restarts restarts
	log      *slog.Logger
}

func (f *Fleet) newTaskRun(a *allocation, task *jobs.Task) *taskRun {
	policy := a.group.Restart
	if task.Restart != nil {
		policy = *task.Restart
	}
	return &taskRun{
		fleet: f, alloc: a, task: task,
		serves:   a.group.Main() == task,
		restarts: restarts{policy: policy},
		log:      f.cfg.Logger.With("replica", a.id, "job", a.ref.String(), "index", a.index, "task", task.Name),
	}
}

// prestart tasks run to completion, in order, before all others.
func (t *taskRun) prestart() bool { return t.task.Lifecycle == "prestart" }

// run starts the task, and again as its restart policy says, until it has failed
// for good, or ctx ends, or (prestart) it has done its work. It returns the
// task's last words if it failed, else "".
func (t *taskRun) run(ctx context.Context) (failure string) {
	stdout, err := openLog(t.alloc.logPath(t.task, "stdout"), t.fleet.cfg.LogBytes)
	if err != nil {
		return t.named(err.Error())
	}
	defer stdout.close()
	stderr, err := openLog(t.alloc.logPath(t.task, "stderr"), t.fleet.cfg.LogBytes)
	if err != nil {
		return t.named(err.Error())
	}
	defer stderr.close()

	for ctx.Err() == nil {
		p, err := t.start(stdout, stderr)
		if err != nil {
			t.log.Warn("task cannot start", "err", err)
			return t.named(err.Error())
		}
		select {
		case <-p.ended:
		case <-ctx.Done():
			t.stop(p)
		}
		t.forget(p)
		if ctx.Err() != nil {
			return ""
		}
		if t.prestart() && p.exit.code == 0 {
			return ""
		}
		failure := t.lastWords(p)
		delay, again := t.restarts.next(time.Now())
		t.log.Warn("task ended by itself", "reason", p.exit.String(), "restart", again, "delay", delay)
		if !again {
			return failure
		}
		if t.serves {
			t.fleet.update(t.alloc, func(facts *jobs.Allocation) {
				facts.Client = jobs.ClientPending
				facts.Restarts++
				facts.Failure = failure
			})
		}
		if !sleep(ctx, delay) {
			return ""
		}
	}
	return ""
}

// start starts the task's process and makes it known: to observers, to the
// supervisor and to the next owner.
func (t *taskRun) start(stdout, stderr *logFile) (*process, error) {
	env := t.fleet.cfg.environment(t.alloc, t.task)
	program, args, err := t.fleet.cfg.commandLine(t.alloc, t.task, env)
	if err != nil {
		return nil, err
	}
	p, err := startProcess(t.fleet.starter, launch{
		program: program, args: args, env: environ(env),
		dir:    t.alloc.taskDir(t.task),
		stdout: stdout, stderr: stderr,
		marker: t.alloc.localDir(t.task),
	})
	if err != nil {
		return nil, startError(program, err)
	}
	if t.serves {
		t.fleet.update(t.alloc, func(facts *jobs.Allocation) {
			facts.Client = jobs.ClientRunning
			facts.Started = p.started
		})
	}
	t.log.Info("task started", "pid", p.pid)
	t.record(p)
	return p, nil
}

// startError says in words what execve said in numbers: the kernel reports a
// script's missing interpreter as if the script itself were missing.
func startError(program string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(program); statErr == nil {
			return fmt.Errorf("cannot start %s: its interpreter, or its directory, does not exist", program)
		}
	}
	return fmt.Errorf("cannot start: %w", err)
}

// record tells the supervisor and the next owner of p.
func (t *taskRun) record(p *process) {
	start, alive := startTime(p.pid)
	if !alive {
		return // ended already; the supervisor need not care
	}
	w := watched{pid: p.pid, start: start, dir: t.alloc.localDir(t.task)}
	t.fleet.supervisor.tell(note{watched: w})
	if err := writePIDFile(pidFile(t.alloc.dir, t.task.Name), w); err != nil {
		t.log.Warn("pid file not written", "err", err)
	}
}

// forget takes back what record has told.
func (t *taskRun) forget(p *process) {
	t.fleet.supervisor.tell(note{watched: watched{pid: p.pid}, gone: true})
	_ = os.Remove(pidFile(t.alloc.dir, t.task.Name)) // absent if record saw it end
}

// stop ends a task that is no longer wanted: shutdown_delay, kill signal,
// kill_timeout, SIGKILL.
func (t *taskRun) stop(p *process) {
	if t.alloc.stopped.Err() != nil && t.alloc.group.ShutdownDelay > 0 {
		timer := time.NewTimer(t.alloc.group.ShutdownDelay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.ended:
			return
		}
	}
	s, err := killSignal(t.task.KillSignal)
	if err != nil {
		s = syscall.SIGTERM // Ensure has refused it
	}
	timeout := t.task.KillTimeout
	if timeout <= 0 {
		timeout = defaultKillTimeout
	}
	if p.stop(s, timeout) {
		t.log.Warn("task did not end in time and was killed", "kill_timeout", timeout)
		return
	}
	t.log.Info("task stopped", "reason", p.exit.String())
}

// lastWords say how p ended and what it wrote last.
func (t *taskRun) lastWords(p *process) string {
	failure := p.exit.String()
	if words := p.tail.words(); words != "" {
		failure += "; last words: " + words
	}
	return t.named(failure)
}

// named prefixes the task's name where it is not the one that serves.
func (t *taskRun) named(failure string) string {
	if t.serves {
		return failure
	}
	return "task " + t.task.Name + ": " + failure
}

// sleep waits for d and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
