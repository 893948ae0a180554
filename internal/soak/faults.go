package soak

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"time"
)

// saboteur does what the plan says and keeps the log of it.
type saboteur struct {
	house *house
	log   func(format string, args ...any)

	mu     sync.Mutex
	busy   map[string]bool // members that are being dealt with
	faults []Fault
	late   map[int]int // activator → late requests counted by incarnations that were seen
	failed error       // a process that could not be started again
}

// run does the steps until the last one is over and everything works again.
func (s *saboteur) run(ctx context.Context, begun time.Time, steps []step) error {
	var under sync.WaitGroup
	for _, st := range steps {
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(begun.Add(st.after))):
			under.Go(func() { s.do(ctx, st) })
		}
	}
	under.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// take a member that is well, chosen by the die; nil if there is none. Of the
// scalers one stays, so that somebody leads.
func (s *saboteur) take(list []*member, die uint64) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	var well []*member
	for _, m := range list {
		if !s.busy[m.name] {
			well = append(well, m)
		}
	}
	if len(well) == 0 || list[0] == s.house.scalers[0] && len(well) < scalers {
		return nil
	}
	m := well[die%uint64(len(well))]
	s.busy[m.name] = true
	return m
}

func (s *saboteur) do(ctx context.Context, st step) {
	switch st.kind {
	case KillReplica:
		s.killReplica(st)
		return
	case KillActivator, StopActivator:
		s.harm(ctx, st, s.take(s.house.activators, st.die))
	case KillScaler, StopScaler:
		s.harm(ctx, st, s.take(s.house.scalers, st.die))
	default:
		s.harm(ctx, st, s.take([]*member{s.house.redis}, st.die))
	}
}

// harm a member for as long as the step says, and see that it works again.
func (s *saboteur) harm(ctx context.Context, st step, m *member) {
	if m == nil {
		return // all of them are being dealt with
	}
	if m.data != "" && st.kind == KillActivator {
		s.count(ctx, m) // what it has counted dies with it
	}
	f := Fault{Kind: st.kind, Index: m.index, From: time.Now()}
	s.log("%s: %s, away for %s", m.name, st.kind, st.last.Round(time.Millisecond))
	p := m.process()
	stops := st.kind == StopActivator || st.kind == StopScaler || st.kind == StopRedis
	switch {
	case stops:
		p.signal(syscall.SIGSTOP)
	case st.kind == RestartRedis:
		p.signal(syscall.SIGTERM)
	default:
		p.kill()
	}
	select {
	case <-time.After(st.last):
	case <-ctx.Done():
	}
	if stops {
		p.signal(syscall.SIGCONT)
	} else {
		<-p.ended
	}
	err := m.start(ctx)
	f.To = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, m.name)
	s.faults = append(s.faults, f)
	if err != nil && s.failed == nil {
		s.failed = err
	}
}

// killReplica ends one that has answered: the death of one that has not yet is a
// start that failed, after which the launch brake keeps its service at zero.
func (s *saboteur) killReplica(st step) {
	running := s.house.replicas()
	executions, _ := readExecutions(s.house.executions) // a line that is being written is no harm
	var ids []string
	for _, x := range executions {
		if len(running[x.Replica]) > 0 && !x.To.IsZero() && !slices.Contains(ids, x.Replica) {
			ids = append(ids, x.Replica)
		}
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	id := ids[st.die%uint64(len(ids))]
	f := Fault{Kind: KillReplica, Replica: id, From: time.Now()}
	s.log("replica %s: %s", id, st.kind)
	for _, pid := range running[id] {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	f.To = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// count the late requests of an activator's present incarnation.
func (s *saboteur) count(ctx context.Context, m *member) {
	n := s.house.late(ctx, m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late[m.index] += n
}
