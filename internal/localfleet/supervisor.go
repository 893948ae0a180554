package localfleet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// supervisor is the owner's side of the process that outlives it by a moment.
// One goroutine (run) owns the pipe; a supervisor process that dies is replaced
// and told of all living children again.
type supervisor struct {
	log      *slog.Logger
	notes    chan note
	ended    chan struct{} // closed when run has returned
	children map[int]note  // living ones, by pid; run's alone
}

// note tells of a child that was started, or (gone) reaped.
type note struct {
	watched
	gone bool
}

func (n note) String() string {
	if n.gone {
		return fmt.Sprintf(formatDone, n.pid)
	}
	return fmt.Sprintf(formatWatch, n.pid, n.start, n.dir)
}

func newSupervisor(log *slog.Logger) *supervisor {
	return &supervisor{
		log:      log,
		notes:    make(chan note),
		ended:    make(chan struct{}),
		children: map[int]note{},
	}
}

// tell passes n on; after run has returned it does nothing.
func (s *supervisor) tell(n note) {
	select {
	case s.notes <- n:
	case <-s.ended:
	}
}

// supervisorRetry is the pause between two attempts to start a supervisor anew.
const supervisorRetry = time.Second

// run keeps a supervisor process alive, beginning with first, until done is
// closed: then no child may be left.
func (s *supervisor) run(done <-chan struct{}, first *supervisorProcess) {
	defer close(s.ended)
	current := first
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		var exited <-chan struct{}
		var again <-chan time.Time
		if current != nil {
			exited = current.exited
		} else {
			again = retry.C
		}
		select {
		case n := <-s.notes:
			s.children[n.pid] = n
			if n.gone {
				delete(s.children, n.pid)
			}
			if current != nil {
				current.send(n)
			}
		case <-exited:
			s.log.Error("the supervisor of child processes ended; it is started anew")
			current = nil
			retry.Reset(0)
		case <-again:
			current = s.replace()
			if current == nil {
				retry.Reset(supervisorRetry)
			}
		case <-done:
			if current != nil {
				current.kill()
			}
			return
		}
	}
}

// replace starts a supervisor and tells it of every living child; nil if it
// cannot be started.
func (s *supervisor) replace() *supervisorProcess {
	p, err := startSupervisor()
	if err != nil {
		s.log.Error("child processes would outlive a killed owner: no supervisor", "err", err)
		return nil
	}
	for _, n := range s.children {
		p.send(n)
	}
	s.log.Info("a supervisor watches over child processes again", "children", len(s.children))
	return p
}

// supervisorProcess is a running supervisor with the pipe to it.
type supervisorProcess struct {
	process *os.Process
	pipe    *os.File
	exited  chan struct{} // closed when it is reaped
}

const (
	supervisorAnswer = 10 * time.Second // from fork to wordReady
	supervisorWrite  = time.Second      // for one note: the pipe holds hundreds
)

// startSupervisor starts this program under supervisorName and waits for it to
// say that it is ready.
func startSupervisor() (*supervisorProcess, error) {
	notesRead, notesWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	defer notesRead.Close()
	answerRead, answerWrite, err := os.Pipe()
	if err != nil {
		notesWrite.Close()
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	defer answerRead.Close()
	cmd := exec.Cmd{
		Path:        self,
		Args:        []string{supervisorName},
		Env:         []string{},
		Dir:         "/",
		Stdin:       notesRead,
		Stdout:      answerWrite,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	answerWrite.Close()
	if err != nil {
		notesWrite.Close()
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	p := &supervisorProcess{process: cmd.Process, pipe: notesWrite, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // however it ended, it is gone
	}()
	_ = answerRead.SetReadDeadline(time.Now().Add(supervisorAnswer)) // pipes have deadlines
	line, err := bufio.NewReader(io.LimitReader(answerRead, 1024)).ReadString('\n')
	if err != nil || line != wordReady+"\n" {
		p.kill()
		return nil, errors.New("start supervisor: this program did not answer as one; its main (or TestMain) must call localfleet.MaybeSupervise first")
	}
	return p, nil
}

// send writes one note; a supervisor that does not take it is killed, and run
// sees it exit.
func (p *supervisorProcess) send(n note) {
	_ = p.pipe.SetWriteDeadline(time.Now().Add(supervisorWrite)) // pipes have deadlines
	if _, err := io.WriteString(p.pipe, n.String()); err != nil {
		_ = p.process.Kill() // an error means that it is gone
	}
}

// kill ends the supervisor at once, in the owner's own lifetime: when no child
// is left to watch over, or when it does not do its work.
func (p *supervisorProcess) kill() {
	p.pipe.Close()
	_ = p.process.Kill() // an error means that it is gone
	<-p.exited
}
