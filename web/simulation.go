package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// States of a simulation.
const (
	simulationWaiting   = "waiting" // for another one to end
	simulationRunning   = "running"
	simulationDone      = "done"
	simulationFailed    = "failed"
	simulationCancelled = "cancelled"
)

// SimulationInfo is how a simulation of a draft stands, and once it is done what
// it has found.
type SimulationInfo struct {
	ID       string             `json:"id"`
	Service  string             `json:"service"`
	State    string             `json:"state"`
	Reason   *string            `json:"reason"` // why it failed or was cancelled, in a sentence
	Over     SimulationOver     `json:"over"`
	Progress SimulationProgress `json:"progress"`
	Report   *SimulationReport  `json:"report"` // once it is done
}

// SimulationOver is what a policy is tried on.
type SimulationOver struct {
	Trace             *string    `json:"trace"` // the name of a shipped trace; null: recorded demand
	From              *time.Time `json:"from"`  // of recorded demand
	To                *time.Time `json:"to"`
	CoveredS          *float64   `json:"covered_s"`          // seconds of that time in which demand was recorded
	Requests          *uint64    `json:"requests"`           // that came
	SlotTimes         *uint64    `json:"slot_times"`         // times in a slot that were recorded
	ColdStarts        int        `json:"cold_starts"`        // of this service, among which each launch is drawn
	ColdStartS        float64    `json:"cold_start_s"`       // their median, from launch to ready; drawn around it if there are fewer than 5
	ComparedWithLive  bool       `json:"compared_with_live"` // false: nothing is in force, or the draft says the same
	LiveVersion       int        `json:"live_version"`       // 0: nothing is in force
	ReplicaGPUs       int        `json:"replica_gpus"`
	ReplicasAtMost    int        `json:"replicas_max"`
	SlotsOfOneReplica int        `json:"concurrency"`
}

// SimulationProgress is how far the candidates have come, on average.
type SimulationProgress struct {
	At       float64  `json:"at_s"` // virtual seconds since the beginning
	Of       *float64 `json:"of_s"` // null: not known
	Requests uint64   `json:"requests"`
	Share    *float64 `json:"share"` // 0 to 1
	ETA      *float64 `json:"eta_s"`
	TookS    float64  `json:"took_s"`
}

// Why a simulation ended without a result.
var (
	errSimulationCancelled = errors.New("it was cancelled")
	errSimulationAbandoned = errors.New("nobody has asked for it for a while")
	errSimulationTooLong   = fmt.Errorf("it took longer than %v; try it on a shorter time", simulationDeadline)
	errSimulationStopping  = errors.New("the control plane is stopping")
)

// simulation is one draft being tried out.
type simulation struct {
	id, service string
	text        string // of the draft
	base        int    // version that the draft began from, for the way back to the editor
	chosen      string // what it is tried on, as the form says it
	sweep       bool
	askedStart  bool // the length of cold starts was asked for
	candidates  []simulate.Candidate
	setup       simulate.Setup
	open        func() (simulate.Source, func(), error)
	long        time.Duration // 0: not known
	total       uint64        // requests; 0: not known
	ctx         context.Context
	cancel      context.CancelCauseFunc
	ended       chan struct{} // closed when it is in its last state

	mu       sync.Mutex // guards what follows
	over     SimulationOver
	state    string
	reason   string
	begun    time.Time
	took     time.Duration
	at       time.Duration
	requests uint64
	report   *simulate.Report
	asked    time.Time // when somebody last asked for it
	closed   time.Time
}

// run replays the candidates; it returns when it is over or parent ends.
func (j *simulation) run(parent context.Context, log *slog.Logger) {
	ctx, stop := context.WithTimeoutCause(j.ctx, simulationDeadline, errSimulationTooLong)
	defer stop()
	defer context.AfterFunc(parent, func() { j.cancel(errSimulationStopping) })()
	j.mu.Lock()
	if ctx.Err() != nil || j.final() {
		j.end(simulationCancelled, causeOf(ctx))
		j.mu.Unlock()
		return
	}
	j.state, j.begun = simulationRunning, time.Now()
	open, setup, candidates := j.open, j.setup, j.candidates
	j.mu.Unlock()
	source, done, err := open()
	if err != nil {
		j.fail(err)
		return
	}
	defer done()
	rep, err := simulate.Replay(ctx, source, setup, candidates, j.moved)
	var fault *simulate.FaultError
	if errors.As(err, &fault) {
		log.Error("a simulation failed", "service", j.service, "err", err, "stack", string(fault.Stack))
	}
	if err != nil && ctx.Err() == nil {
		j.fail(err)
		return
	}
	j.finish(rep, ctx)
}

func (j *simulation) moved(at time.Duration, requests uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at, j.requests = at, requests
}

func (j *simulation) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.end(simulationFailed, err.Error())
}

// finish ends it with a report, or with what ended ctx.
func (j *simulation) finish(rep *simulate.Report, ctx context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.final(): // it was cancelled just now
	case rep != nil:
		j.report = rep
		j.over.Requests = &rep.Requests
		for i := range rep.Results {
			rep.Results[i].Series, _ = simulate.Thin(rep.Results[i].Series, mostPoints)
		}
		j.end(simulationDone, "")
	case errors.Is(context.Cause(ctx), errSimulationTooLong):
		j.end(simulationFailed, causeOf(ctx))
	default:
		j.end(simulationCancelled, causeOf(ctx))
	}
}

func causeOf(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error()
	}
	return ""
}

// end is the last state; j.mu is held.
func (j *simulation) end(state, reason string) {
	if j.final() {
		return
	}
	j.state, j.reason = state, reason
	if !j.begun.IsZero() {
		j.took = time.Since(j.begun)
	}
	j.closed = time.Now()
	j.open, j.candidates, j.setup = nil, nil, simulate.Setup{} // what it was made from may be large
	close(j.ended)
}

func (j *simulation) isOver() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.final()
}

// final: j.mu is held.
func (j *simulation) final() bool {
	return j.state != simulationWaiting && j.state != simulationRunning
}

// info is how it stands.
func (j *simulation) info(now time.Time) SimulationInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := SimulationInfo{ID: j.id, Service: j.service, State: j.state, Over: j.over}
	if j.reason != "" {
		i.Reason = &j.reason
	}
	p := &i.Progress
	p.At, p.Requests, p.TookS = j.at.Seconds(), j.requests, j.took.Seconds()
	if j.state == simulationRunning {
		p.TookS = now.Sub(j.begun).Seconds()
	}
	if j.long > 0 {
		p.Of = ptrTo(j.long.Seconds())
		share := min(1, j.at.Seconds() / *p.Of)
		if j.total > 0 { // whichever is behind: many requests, or much time without any
			share = min(share, float64(j.requests)/float64(j.total))
		}
		if j.state == simulationDone {
			share = 1
		}
		p.Share = &share
		if j.state == simulationRunning && share > 0.02 {
			p.ETA = ptrTo(p.TookS * (1 - share) / share)
		}
	}
	if j.report != nil {
		i.Report = reportOf(j.report)
	}
	return i
}

func ptrTo[T any](v T) *T { return &v }
