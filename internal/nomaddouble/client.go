package nomaddouble

import (
	"context"
	"fmt"
	"slices"
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

// Exit is how a task ends.
type Exit struct {
	Code, Signal int
	OutOfMemory  bool
	err          error // it could not be started
}

// group is the allocation's, in the version of the job that it runs now: a
// scale or a register may have brought it to another one.
func (l *life) group() *group {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.a.group
}

// now by the clock of the allocation's node.
func (l *life) now() time.Time { return time.Now().Add(l.a.node.Skew) }

// live runs the main task of an allocation until it is told to stop, or has
// failed for good, or the cluster ends.
func (s *Server) live(ctx context.Context, a *allocation) {
	defer close(a.ended)
	l := &life{s: s, a: a, st: &taskState{State: "pending"}}
	l.task = l.group().main()
	if l.task == nil || !s.hears(ctx, a.node) {
		return
	}
	l.st.add("Received", "Task received by client", l.now(), nil, nil)
	if a.previous != nil && !l.succeed(ctx) {
		l.end(ctx)
		return
	}
	if ended := l.prepare(ctx); ended != nil {
		l.giveUp(*ended)
		return
	}
	if l.told() || ctx.Err() != nil {
		l.end(ctx)
		return
	}
	for attempt := 0; ; attempt++ {
		ended := l.run(ctx)
		if l.told() { // whatever ended it, this was wanted
			l.end(ctx)
			return
		}
		if ctx.Err() != nil {
			return
		}
		g := l.group()
		if ended.err == nil && attempt < g.RestartAttempts {
			l.st.Restarts++
			l.st.LastRestart = l.now()
			l.st.add("Restarting", "Task restarting in "+g.RestartDelay.String(), l.now(),
				document{"RestartReason": "Restart within policy", "StartDelay": g.RestartDelay},
				document{"restart_reason": "Restart within policy", "start_delay": strconv.FormatInt(int64(g.RestartDelay), 10)})
			l.report("pending", "")
			if !l.pause(ctx, g.RestartDelay) {
				l.end(ctx)
				return
			}
			continue
		}
		l.giveUp(ended)
		return
	}
}

// told reports whether the client has heard that the allocation is to stop.
func (l *life) told() bool {
	select {
	case <-l.a.stop:
		return true
	default:
		return false
	}
}

// succeed waits until the task of the allocation whose place this one takes has
// ended; false if this one is told to stop meanwhile. One on a lost node is not
// waited for.
func (l *life) succeed(ctx context.Context) bool {
	old := l.a.previous
	if old.node.silent {
		return true
	}
	select {
	case <-old.ended:
		return true
	default:
	}
	l.report("pending", "")
	select {
	case <-old.ended:
		return true
	case <-l.a.stop:
	case <-ctx.Done():
	}
	return false
}

// prepare does what a client does before it starts a task; it returns the end
// of a task that could not be started.
func (l *life) prepare(ctx context.Context) *Exit {
	s := l.s
	s.mu.Lock()
	up, delay := s.startups[jobKey{l.a.job.Namespace, l.a.job.ID}], s.delays.Start
	s.mu.Unlock()
	if !l.pause(ctx, delay) {
		return nil
	}
	l.st.add("Task Setup", "Building Task Directory", l.now(), document{"Message": "Building Task Directory"}, document{"message": "Building Task Directory"})
	if up.Artifact {
		l.st.add("Downloading Artifacts", "Client is downloading artifacts", l.now(), nil, nil)
	}
	if up.Image != "" {
		l.driver("Downloading image", up.Image)
	}
	if up.Delay > 0 {
		l.report("pending", "")
	}
	for i := range len(up.Progress) + 1 {
		if !l.pause(ctx, up.Delay/time.Duration(len(up.Progress)+1)) {
			return nil
		}
		if i < len(up.Progress) {
			l.driver(up.Progress[i], up.Image)
			l.report("pending", "")
		}
	}
	switch {
	case up.Fail == "":
		return nil
	case up.Artifact:
		l.st.add("Failed Artifact Download", up.Fail, l.now(), document{"DownloadError": up.Fail}, document{"download_error": up.Fail})
	default:
		l.st.add("Driver Failure", up.Fail, l.now(), document{"DriverError": up.Fail}, document{"driver_error": up.Fail})
	}
	return &Exit{err: fmt.Errorf("%s", up.Fail)}
}

func (l *life) driver(message, image string) {
	l.st.add("Driver", message, l.now(), document{"DriverMessage": message}, document{"image": image})
}

// run starts the process once and waits until it ends, of itself or because it
// was told to.
func (l *life) run(ctx context.Context) Exit {
	p, err := l.s.start(l.a, l.task)
	if err != nil {
		l.st.add("Driver Failure", err.Error(), l.now(), document{"DriverError": err.Error()}, document{"driver_error": err.Error()})
		return Exit{err: err}
	}
	l.st.State, l.st.StartedAt = "running", l.now()
	l.st.add("Started", "Task started by client", l.st.StartedAt, nil, nil)
	l.report("running", "Tasks are running")
	well, quit := context.WithCancel(ctx)
	defer quit()
	l.s.mu.Lock()
	l.s.spawn(func(context.Context) { l.s.becomeHealthy(well, l.a) })
	l.s.mu.Unlock()
	var ended Exit
	select {
	case ended = <-p.ended:
	case ended = <-l.a.fail:
		p.kill()
		<-p.ended
	case <-l.a.stop:
		ended = l.stop(ctx, p)
	case <-ctx.Done():
		p.kill()
		ended = <-p.ended
	}
	l.st.State, l.st.FinishedAt = "dead", l.now()
	display, more := "Exit Code: "+strconv.Itoa(ended.Code), document{"ExitCode": ended.Code, "Signal": ended.Signal}
	if ended.Signal != 0 {
		display += ", Signal: " + strconv.Itoa(ended.Signal)
	}
	if ended.OutOfMemory {
		display += `, Exit Message: "OOM Killed"`
		more["Message"] = "OOM Killed"
	}
	l.st.add("Terminated", display, l.st.FinishedAt, more, document{"exit_code": strconv.Itoa(ended.Code),
		"signal": strconv.Itoa(ended.Signal), "oom_killed": strconv.FormatBool(ended.OutOfMemory)})
	return ended
}

// stop ends the process as a client does that has been told to: a lost one
// hears of it only when it is back.
func (l *life) stop(ctx context.Context, p *process) Exit {
	if !l.s.hears(ctx, l.a.node) || !sleep(ctx, l.s.delayed(func(d Delays) time.Duration { return d.Stop })+l.group().ShutdownDelay) {
		p.kill()
		return <-p.ended
	}
	timeout := min(l.task.KillTimeout, l.s.cfg.MaxKillTimeout)
	l.st.add("Killing", "Sent interrupt. Waiting "+timeout.String()+" before force killing", l.now(),
		document{"KillTimeout": timeout}, document{"kill_timeout": timeout.String()})
	return p.stop(ctx, l.task.KillSignal, timeout)
}

// end reports that the allocation has stopped as it was told.
func (l *life) end(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	l.st.State = "dead"
	if l.st.FinishedAt.IsZero() {
		l.st.FinishedAt = l.now()
	}
	l.st.add("Killed", "Task successfully killed", l.now(), nil, nil)
	l.report("complete", "All tasks have completed")
}

// giveUp reports that the task has failed for good, and asks for a replacement
// where the group has such.
func (l *life) giveUp(ended Exit) {
	why := "Error was unrecoverable"
	if ended.err == nil {
		why = fmt.Sprintf("Exceeded allowed attempts %d in interval %s and mode is \"fail\"", l.group().RestartAttempts, l.group().RestartInterval)
	}
	l.st.State, l.st.Failed = "dead", true
	if l.st.FinishedAt.IsZero() {
		l.st.FinishedAt = l.now()
	}
	l.st.add("Not Restarting", why, l.now(), document{"RestartReason": why, "FailsTask": true}, document{"restart_reason": why, "fails_task": "true"})
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

// update is what a client says of an allocation.
type update struct {
	status, why string
	state       *taskState
}

// report lets the servers know what has become of the task, with the client's
// next batch.
func (l *life) report(status, why string) {
	s, a := l.s, l.a
	s.mu.Lock()
	defer s.mu.Unlock()
	a.said = update{status, why, l.st.copy()}
	s.batch(a.node, a)
}

// batch sends what the client of a node has to say in a moment, with what it
// has to say until then. s.mu is held.
func (s *Server) batch(n *node, a *allocation) {
	if a != nil && !slices.Contains(n.reports, a) {
		n.reports = append(n.reports, a)
		if len(n.reports) > 1 || n.silent {
			return // goes with the batch that waits, or when it is heard again
		}
	}
	s.spawn(func(ctx context.Context) {
		if !sleep(ctx, s.delayed(func(d Delays) time.Duration { return d.Batch })) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !n.silent {
			s.hear(n)
		}
	})
}

// hear takes in a client's batch in one entry. s.mu is held.
func (s *Server) hear(n *node) {
	said := n.reports
	n.reports = nil
	if len(said) == 0 {
		return
	}
	freed := false
	failed := make(map[*job]*evaluation)
	s.write([]string{tableAllocs, tableEvals}, func(index uint64) []event {
		var events []event
		for _, a := range said {
			if !slices.Contains(s.allocs, a) {
				continue // purged with its job
			}
			a.Client, a.ClientWhy = a.said.status, a.said.why
			a.states = map[string]*taskState{a.mainTask(): a.said.state}
			a.ModifyIndex, a.modified, a.job.index = index, time.Now(), index
			if a.terminal() {
				a.gone, freed, a.failedAt = true, true, a.modified
			}
			events = append(events, allocEvent("AllocationUpdated", a))
			if a.Client == "failed" && a.Desired == "run" && failed[a.job] == nil {
				e := s.newEvaluation(a.job, "alloc-failure")
				e.CreateIndex, e.Modified, e.JobModify = index, index, a.job.jobModify
				failed[a.job] = e
				events = append(events, evalEvent("AllocationUpdated", e))
			}
		}
		return append(events, nodeEvent("AllocationUpdated", n))
	})
	for j, e := range failed {
		s.process(j, e)
	}
	if freed {
		s.unblock()
	}
}

// becomeHealthy takes an allocation for healthy that has run for a while; a
// deployment does that for its own.
func (s *Server) becomeHealthy(ctx context.Context, a *allocation) {
	if !sleep(ctx, s.delayed(func(d Delays) time.Duration { return d.Healthy })) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Desired != "run" || a.Client != "running" || a.healthy != nil || a.node.silent {
		return
	}
	if d := s.deployment(a.deployment); d != nil && d.active() {
		return
	}
	s.write([]string{tableAllocs}, func(index uint64) []event {
		a.setHealthy(index)
		return []event{allocEvent("AllocationUpdated", a), nodeEvent("AllocationUpdated", a.node)}
	})
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
