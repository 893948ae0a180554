package web

import (
	"context"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// Services is what the pages and the API read of the scaler's published state;
// scaler/history implements it over Redis, so that a web process needs nothing
// but Redis.
type Services interface {
	// Statuses of all services, by name.
	Statuses(ctx context.Context) ([]jobs.Status, error)
	// ColdStarts, newest first; service "" is all of them.
	ColdStarts(ctx context.Context, service string, limit int) ([]jobs.ColdStart, error)
	// Decisions that changed something, newest first; service "" is all of them.
	Decisions(ctx context.Context, service string, limit int) ([]decide.Decision, error)
	// Timeline of a service, oldest first, one point a second at most.
	Timeline(ctx context.Context, service string, limit int) ([]jobs.Point, error)
	// Changes calls fn with a topic ("status", "decision", "coldstart", "policy",
	// "point") and the service it is about, as they happen; blocks until ctx ends.
	// After a reconnection it calls fn("status", "").
	Changes(ctx context.Context, fn func(topic, service string)) error
	// Operate carries out an operator's command; the scaler obeys it at once. It
	// returns the command as it was recorded, with the moment by the store's clock.
	Operate(ctx context.Context, service string, cmd jobs.Command) (jobs.Command, error)
}

// Recordings is what was asked of services in the last two weeks;
// scaler/history implements it.
type Recordings interface {
	// Recorded returns a service's hours from from to to, oldest first, without
	// those in which nothing is known to have been asked.
	Recorded(ctx context.Context, service string, from, to time.Time) ([]jobs.RecordedHour, error)
	// Covered returns how much of the time from from to to was recorded.
	Covered(ctx context.Context, from, to time.Time) (time.Duration, error)
}
