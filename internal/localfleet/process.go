package localfleet

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// launch is what a child process is made from.
type launch struct {
	program string
	args    []string
	env     []string
	dir     string
	stdout  *logFile
	stderr  *logFile
	marker  string // value of taskDirVariable in env
}

// starter forks all children from one locked thread, because Pdeathsig means
// the death of the thread that forked: any other thread of a Go program may end
// while the program lives on.
type starter struct {
	requests chan startRequest
	may      func() error // an error if nothing may be started any more
}

type startRequest struct {
	program string
	args    []string
	attr    *os.ProcAttr
	answer  chan<- startAnswer
}

type startAnswer struct {
	process *os.Process
	err     error
}

// run serves until done is closed; every child must have ended by then.
func (s *starter) run(done <-chan struct{}) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for {
		select {
		case r := <-s.requests:
			if err := s.may(); err != nil {
				r.answer <- startAnswer{nil, err}
				continue
			}
			process, err := os.StartProcess(r.program, r.args, r.attr)
			r.answer <- startAnswer{process, err}
		case <-done:
			return
		}
	}
}

func (s *starter) start(program string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	answer := make(chan startAnswer, 1)
	s.requests <- startRequest{program, args, attr, answer}
	a := <-answer
	return a.process, a.err
}

// process is one run of a task: a child that leads a process group.
type process struct {
	pid     int
	started time.Time
	tail    tail
	ended   chan struct{} // closed when it is reaped, its group is killed and its output read
	exit    exit          // valid when ended is closed

	mu     sync.Mutex
	reaped bool // from here on pid may be anybody's
}

// exit is how a process ended.
type exit struct {
	code   int            // −1 if by a signal
	signal syscall.Signal // 0 if by itself
	after  time.Duration
}

func (e exit) String() string {
	after := e.after.Round(time.Second).String()
	if e.after < 10*time.Second {
		after = fmt.Sprintf("%.1fs", e.after.Seconds())
	}
	if e.signal != 0 {
		return fmt.Sprintf("killed by %s after %s", signalName(e.signal), after)
	}
	return fmt.Sprintf("exit code %d after %s", e.code, after)
}

// afterlife bounds the waits behind the end of a process: for the end of what it
// left in other groups, and of its output, if something that nobody can know to
// be its own holds that open.
const afterlife = time.Second

// startProcess starts l and the goroutines that read its output and reap it;
// they end soon after the process.
func startProcess(s *starter, l launch) (*process, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outWrite.Close()
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		outRead.Close()
		return nil, err
	}
	defer errWrite.Close()

	child, err := s.start(l.program, l.args, &os.ProcAttr{
		Dir:   l.dir,
		Env:   l.env,
		Files: []*os.File{null, outWrite, errWrite},
		Sys:   childAttributes(),
	})
	if err != nil {
		outRead.Close()
		errRead.Close()
		return nil, err
	}
	p := &process{pid: child.Pid, started: time.Now(), ended: make(chan struct{})}
	var output sync.WaitGroup
	output.Go(func() { p.read(outRead, l.stdout) })
	output.Go(func() { p.read(errRead, l.stderr) })
	go func() {
		defer close(p.ended)
		p.reap(child)
		p.endStrays(l.marker)
		deadline := time.Now().Add(afterlife)
		_ = outRead.SetReadDeadline(deadline) // an error means that it is closed
		_ = errRead.SetReadDeadline(deadline)
		output.Wait()
	}()
	return p, nil
}

// read copies one stream of the process into its log until it ends.
func (p *process) read(from *os.File, to *logFile) {
	defer from.Close()
	lines := lineSplitter{tail: &p.tail}
	defer lines.flush()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		to.write(buffer[:n])
		lines.write(buffer[:n])
		if err != nil {
			return
		}
	}
}

// reap waits for the process, kills what is left of its group while the group's
// number is still its own, and takes its exit status.
func (p *process) reap(child *os.Process) {
	awaitExit(p.pid)
	after := time.Since(p.started)
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	state, err := child.Wait() // does not block: it is a zombie
	p.reaped = true
	p.exit = exit{code: -1, after: after}
	if err != nil {
		return
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		p.exit.signal = status.Signal()
	} else {
		p.exit.code = state.ExitCode()
	}
}

// endStrays ends what left the group of the ended process but kept its
// environment.
func (p *process) endStrays(marker string) {
	ctx, cancel := context.WithTimeout(context.Background(), afterlife)
	defer cancel()
	_, _ = endAll(ctx, func() []watched { // what does not end was killed: no more can be done
		return killBelonging(func(dir string) bool { return dir == marker })
	})
}

// signal sends s to the whole process group, if it still is one.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, s) // an error means that nobody is left
	}
}

// stop asks the process group to end, kills it after timeout, and returns when
// it is gone. forced says that it had to be killed.
func (p *process) stop(s syscall.Signal, timeout time.Duration) (forced bool) {
	p.signal(s)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.ended:
		return false
	case <-timer.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.ended
	return true
}
