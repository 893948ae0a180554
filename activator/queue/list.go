package queue

import (
	"context"
	"time"
)

// Sighting is a request as an operator may see it: where it stands, never its
// body, its key or its header.
type Sighting struct {
	ID        string // of the ticket; of a durable one the request's
	Service   string
	Tenant    string
	RequestID string
	State     State // held, granted, running
	Position  int   // in the queue, from 1; 0 if it does not wait
	Priority  int
	Attempts  int
	Replica   string
	At        time.Time
	Deadline  time.Time
	Async     bool
	Durable   bool // else it goes with its connection
}

// Requests lists what waits for a service, in order, then the durable requests
// that run; at most so many. Running requests of connections are not in Redis.
func (l *Ledger) Requests(ctx context.Context, service string, most int) ([]Sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	rows, err := run(ctx, listScript, l.redis, service, argsOf(service, &l.cfg, 0, "", most))
	if err != nil {
		return nil, unavailable(err)
	}
	var out []Sighting
	for _, row := range rows {
		r, ok := row.([]any)
		if !ok || len(r) != 3 {
			continue
		}
		f := func(i int) string { return text(r[2].([]any)[i]) }
		s := Sighting{ID: text(r[0]), Service: service, Position: int(number(r[1])), State: StateHeld, Tenant: f(1),
			RequestID: f(2), At: time.UnixMilli(number(f(3))).UTC(), Deadline: time.UnixMilli(number(f(4))).UTC(),
			Attempts: int(number(f(5))), Replica: f(6), Async: f(7) == "1", Durable: f(8) != ""}
		if f(0) != "" {
			s.State = State(f(0))
		}
		if f(9) != "" {
			s.Priority = MaxPriority - int(number(f(9)))
		}
		out = append(out, s)
	}
	return out, nil
}
