package main

import (
	"context"
	"errors"
	"time"

	"github.com/pilotlight/pilotlight/activator"
	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/eta"
	"github.com/pilotlight/pilotlight/scaler/history"
	"github.com/pilotlight/pilotlight/web"
)

// insight is web.Requests over the hold of all activators.
type insight struct {
	ledger  *queue.Ledger
	queue   *queue.Queue // only asked, never run: it needs no activator in this process
	history *history.History
}

// Held lists what waits for a service, then the durable requests that run.
func (i insight) Held(ctx context.Context, service string, limit int) ([]web.RequestInfo, error) {
	list, err := i.ledger.Requests(ctx, service, limit)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	now, err := i.statuses(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]web.RequestInfo, 0, len(list))
	for _, s := range list {
		r := web.RequestInfo{ID: s.ID, Service: s.Service, RequestID: s.RequestID, Priority: s.Priority, Attempts: s.Attempts,
			Replica: s.Replica, Async: s.Async, Durable: s.Durable}
		stand(&r, s.State, s.Position, s.At, s.Deadline, now[s.Service])
		out = append(out, r)
	}
	return out, nil
}

// Find one; a ticket of a connection is looked for among those that wait.
func (i insight) Find(ctx context.Context, id string) (web.RequestInfo, error) {
	e, err := i.queue.Find(ctx, id)
	if err == nil {
		return i.entry(ctx, e)
	}
	if !errors.Is(err, queue.ErrUnknownRequest) {
		return web.RequestInfo{}, err
	}
	statuses, err := i.history.Statuses(ctx)
	if err != nil {
		return web.RequestInfo{}, err
	}
	for _, st := range statuses {
		list, err := i.Held(ctx, st.Name, 1000)
		if err != nil {
			return web.RequestInfo{}, err
		}
		for _, r := range list {
			if r.ID == id {
				return r, nil
			}
		}
	}
	return web.RequestInfo{}, web.ErrUnknownRequest
}

// Cancel a durable request.
func (i insight) Cancel(ctx context.Context, id string) (web.RequestInfo, error) {
	e, err := i.queue.Cancel(ctx, id)
	if errors.Is(err, queue.ErrUnknownRequest) {
		if _, err = i.Find(ctx, id); err == nil {
			err = web.ErrOfConnection
		}
	}
	if err != nil {
		return web.RequestInfo{}, err
	}
	return i.entry(ctx, e)
}

func (i insight) entry(ctx context.Context, e queue.Entry) (web.RequestInfo, error) {
	r := web.RequestInfo{ID: e.ID, Service: e.Service, RequestID: e.RequestID, Attempts: e.Attempts, Replica: e.Replica,
		Reason: e.Reason, Async: e.Async, Durable: true}
	if e.State.Final() {
		r.Status = new(activator.StatusOf(e))
	} else if e.Status != 0 {
		r.Status = &e.Status
	}
	var st jobs.Status
	if !e.State.Final() {
		now, err := i.statuses(ctx)
		if err != nil {
			return r, err
		}
		st = now[e.Service]
	}
	stand(&r, e.State, e.Position, e.At, e.Deadline, st)
	return r, nil
}

// statuses of all services.
func (i insight) statuses(ctx context.Context) (map[string]jobs.Status, error) {
	statuses, err := i.history.Statuses(ctx)
	out := map[string]jobs.Status{}
	for _, st := range statuses {
		out[st.Name] = st
	}
	return out, err
}

// stand says where a request stands.
func stand(r *web.RequestInfo, state queue.State, position int, at, deadline time.Time, st jobs.Status) {
	r.State, r.Phase = string(state), activator.PhaseOf(st)
	switch {
	case state == queue.StateGranted || state == queue.StateRunning:
		r.State, r.Phase = string(queue.StateRunning), "running"
	case state.Final():
		r.Phase = ""
	default:
		r.ETA = eta.Read(st, time.Now()).Wait(position)
	}
	if position > 0 {
		r.Position = &position
	}
	if !deadline.IsZero() {
		r.Deadline = &deadline
	}
	r.At, r.AgeS = at, max(0, time.Since(at).Seconds())
}
