package nomaddouble

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// life of one allocation at its client. Only live touches task.
type life struct {
	s    *Server
	a    *allocation
	task *task
	st   *taskState
}

// exit is how a task's process ended.
type exit struct {
	code, signal int
	err          error // it could not be started
}

// live runs the main task of an allocation until it is told to stop, or has
// failed for good, or the cluster ends.
func (s *Server) live(ctx context.Context, a *allocation) {
	l := &life{s: s, a: a, task: a.group.main(), st: &taskState{State: "pending"}}
	if l.task == nil {
		return
	}
	l.st.add("Received", "Task received by client", time.Now(), nil)
	if !l.pause(ctx, s.delays.Start) {
		l.end(ctx)
		return
	}
	l.st.add("Task Setup", "Building Task Directory", time.Now(), document{"Message": "Building Task Directory"})
	for attempt := 0; ; attempt++ {
		ended := l.run(ctx)
		select {
		case <-a.stop: // whatever ended it, this was wanted
			l.end(ctx)
			return
		default:
		}
		if ctx.Err() != nil {
			return
		}
		if ended.err == nil && attempt < a.group.RestartAttempts {
			l.st.Restarts++
			l.st.add("Restarting", "Task restarting in "+a.group.RestartDelay.String(), time.Now(), document{"RestartReason": "Restart within policy"})
			l.report("pending", "")
			if !l.pause(ctx, a.group.RestartDelay) {
				l.end(ctx)
				return
			}
			continue
		}
		l.giveUp(ended)
		return
	}
}

// run starts the process once and waits until it ends, of itself or because it
// was told to.
func (l *life) run(ctx context.Context) exit {
	p, err := l.s.start(l.a, l.task)
	if err != nil {
		l.st.add("Driver Failure", err.Error(), time.Now(), document{"DriverError": err.Error()})
		return exit{err: err}
	}
	l.st.State, l.st.StartedAt = "running", time.Now()
	l.st.add("Started", "Task started by client", l.st.StartedAt, nil)
	l.report("running", "Tasks are running")
	var ended exit
	select {
	case ended = <-p.ended:
	case ended = <-l.a.fail:
		p.kill()
		<-p.ended
	case <-l.a.stop:
		if !sleep(ctx, l.s.delays.Stop+l.a.group.ShutdownDelay) {
			p.kill()
		}
		l.st.add("Killing", "Sent interrupt. Waiting "+l.task.KillTimeout.String()+" before force killing", time.Now(), nil)
		ended = p.stop(ctx, l.task)
	case <-ctx.Done():
		p.kill()
		ended = <-p.ended
	}
	l.st.State, l.st.FinishedAt = "dead", time.Now()
	display := "Exit Code: " + strconv.Itoa(ended.code)
	if ended.signal != 0 {
		display += ", Signal: " + strconv.Itoa(ended.signal)
	}
	l.st.add("Terminated", display, l.st.FinishedAt, document{"ExitCode": ended.code, "Signal": ended.signal,
		"Details": document{"exit_code": strconv.Itoa(ended.code), "signal": strconv.Itoa(ended.signal), "oom_killed": "false"}})
	return ended
}

// end reports that the allocation has stopped as it was told.
func (l *life) end(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	l.st.State = "dead"
	if l.st.FinishedAt.IsZero() {
		l.st.FinishedAt = time.Now()
	}
	l.st.add("Killed", "Task successfully killed", time.Now(), nil)
	l.report("complete", "All tasks have completed")
}

// giveUp reports that the task has failed for good, and asks for a replacement
// where the group has such.
func (l *life) giveUp(ended exit) {
	why := "Error was unrecoverable"
	if ended.err == nil {
		why = fmt.Sprintf("Exceeded allowed attempts %d in interval 30m0s and mode is \"fail\"", l.a.group.RestartAttempts)
	}
	l.st.State, l.st.Failed = "dead", true
	if l.st.FinishedAt.IsZero() {
		l.st.FinishedAt = time.Now()
	}
	l.st.add("Not Restarting", why, time.Now(), document{"RestartReason": why, "FailsTask": true})
	l.report("failed", "Failed tasks")
}

// pause waits, and reports false if the allocation was told to stop meanwhile.
func (l *life) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.a.stop:
	case <-ctx.Done():
	}
	return false
}

// report lets the servers know what has become of the task, with the client's
// next batch.
func (l *life) report(status, why string) {
	s, a, st := l.s, l.a, l.st.copy()
	s.mu.Lock()
	defer s.mu.Unlock()
	a.pending = append(a.pending, update{status, why, st})
	if len(a.pending) > 1 {
		return // goes with the batch that waits
	}
	s.spawn(func(ctx context.Context) {
		if !sleep(ctx, s.delays.Batch) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		last := a.pending[len(a.pending)-1]
		a.pending = nil
		s.hear(a, last)
	})
}

// update is what a client says of an allocation.
type update struct {
	status, why string
	state       *taskState
}

// hear takes in a client's report. s.mu is held.
func (s *Server) hear(a *allocation, u update) {
	s.write([]string{tableAllocs}, func(index uint64) []event {
		a.Client, a.ClientWhy = u.status, u.why
		a.states = map[string]*taskState{a.group.main().Name: u.state}
		a.ModifyIndex, a.modified, a.job.index = index, time.Now(), index
		return []event{allocEvent("AllocationUpdated", a)}
	})
	if !a.terminal() {
		return
	}
	a.gone = true
	s.unblock()
	if a.Client == "failed" && a.Desired == "run" && a.group.Reschedule {
		s.spawn(func(ctx context.Context) {
			if !sleep(ctx, a.group.RescheduleDelay) {
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if a.Desired == "run" {
				s.evaluate(a.job, "alloc-failure")
			}
		})
	}
}

// sleep waits for d and reports whether it passed before ctx ended.
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
