package web

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// stripStep is one step of the live strip on a service's page.
type stripStep struct {
	Label, About string
	State        string // "done", "current", "failed", "todo"
	Figure       Figure // how long it took
	Last         bool   // Figure is of the last cold start, not of this one
	Since        time.Time
}

// StateWords says State without colour.
func (s stripStep) StateWords() string {
	return map[string]string{"done": "done", "current": "now", "failed": "failed", "todo": "not yet"}[s.State]
}

// The steps of a strip, in order, and the phase that measures each.
const (
	stepHeld = iota
	stepPlace
	stepPull
	stepStart
	stepLoad
	stepReady
	stepAnswered
)

var stripSteps = [...]struct{ label, about, phase string }{
	stepHeld:     {"held", "the first request waits; the scaler decides", jobs.PhaseDecide},
	stepPlace:    {"place", "an allocation is placed on a node", jobs.PhasePlace},
	stepPull:     {"pull", "its node fetches artifacts and image, and runs what comes before the task", jobs.PhasePull},
	stepStart:    {"start", "its task process starts", jobs.PhaseStart},
	stepLoad:     {"load", "it loads, until its probe answers", jobs.PhaseLoad},
	stepReady:    {"ready", "a request is released to it", jobs.PhaseReady},
	stepAnswered: {"answered", "the first byte of the answer", jobs.PhaseFirstByte},
}

// strip follows the wake that is going on, or tells the last one. starts are
// the recorded cold starts, newest first. Where nothing is pulled, and nothing
// was the last time, there is no such step.
func strip(now time.Time, svc service, starts []jobs.ColdStart) (steps []stripStep, caption string) {
	steps, caption = wholeStrip(now, svc, starts)
	if steps[stepPull].State != "current" && (len(starts) == 0 || !pulled(starts[0])) {
		steps = slices.Delete(steps, stepPull, stepPull+1)
	}
	return steps, caption
}

func pulled(c jobs.ColdStart) bool {
	return slices.ContainsFunc(c.Phases, func(p jobs.ColdStartPhase) bool { return p.Name == jobs.PhasePull && p.DurMS > 0 })
}

func wholeStrip(now time.Time, svc service, starts []jobs.ColdStart) (steps []stripStep, caption string) {
	switch svc.State {
	case jobs.StateBlocked:
		steps = untouched(starts, true)
		reach(steps, stepPlace, "failed", time.Time{})
		return steps, "Blocked on the way."
	case jobs.StateWaking:
		caption = "A wake is going on."
		if r := furthestReplica(svc.Replicas.List); r != nil && r.Progress != "" {
			caption += " Its node says: " + sentence(cutText(r.Progress, 200))
		}
		return wakingStrip(svc, starts), caption
	case jobs.StateReady:
		if r := unanswered(svc.Replicas.List, starts); r != nil {
			return readyStrip(now, svc, *r)
		}
	}
	return toldStrip(svc.State, starts)
}

// untouched steps, with the figures of the newest cold start. During a wake
// these are what to expect, and marked as being of the last one.
func untouched(starts []jobs.ColdStart, wake bool) []stripStep {
	steps := make([]stripStep, len(stripSteps))
	for i, s := range stripSteps {
		steps[i] = stripStep{Label: s.label, About: s.about, State: "todo", Figure: unknown("not measured yet")}
		if len(starts) > 0 {
			steps[i].Figure, steps[i].Last = waterfall{ColdStart: starts[0]}.Phase(s.phase), wake
		}
	}
	return steps
}

// reach marks the steps before current as done.
func reach(steps []stripStep, current int, state string, since time.Time) {
	for i := range current {
		steps[i].State = "done"
	}
	steps[current].State, steps[current].Since = state, since
}

// wakingStrip follows the replica that is nearest to ready.
func wakingStrip(svc service, starts []jobs.ColdStart) []stripStep {
	steps, held, r := untouched(starts, true), svc.heldSince(), furthestReplica(svc.Replicas.List)
	switch {
	case r == nil && svc.Replicas.Wanted == 0:
		reach(steps, stepHeld, "current", held)
	case r == nil:
		reach(steps, stepPlace, "current", time.Time{})
	case r.Progress != "" && r.Failure != "": // it is started again
		reach(steps, stepStart, "current", r.Since)
	case r.Progress != "": // said by its node, so it is placed; its task does not run yet
		reach(steps, stepPull, "current", r.Since)
	case r.Phase == jobs.Pending:
		reach(steps, stepPlace, "current", r.Launched)
	case r.Address == "":
		reach(steps, stepStart, "current", r.Since)
	default:
		reach(steps, stepLoad, "current", r.Since)
	}
	for i := range steps {
		if steps[i].State == "done" { // a figure of another wake would be taken for this one's
			steps[i].Figure, steps[i].Last = unknown("told when this cold start is over"), false
		}
	}
	if r == nil {
		return steps
	}
	if !held.IsZero() {
		measure(&steps[stepHeld], held, r.Launched)
	}
	// Since is when it was placed, unless it has been ready before.
	if steps[stepPlace].State == "done" && !slices.ContainsFunc(starts, func(c jobs.ColdStart) bool { return c.Replica == r.ID }) {
		measure(&steps[stepPlace], r.Launched, r.Since)
	}
	return steps
}

// measure sets how long a step took, if both ends are known and in order.
func measure(step *stripStep, from, until time.Time) {
	if !from.IsZero() && !until.Before(from) {
		step.Figure = duration(until.Sub(from))
	}
}

// readyStrip is for a wake whose replica r is ready and has not answered yet.
func readyStrip(now time.Time, svc service, r jobs.Replica) (steps []stripStep, caption string) {
	steps = untouched(nil, false)
	reach(steps, stepAnswered, "todo", time.Time{})
	for i := range stepAnswered {
		steps[i].Figure = unknown("told when the first answer is recorded")
	}
	caption = "Ready"
	if took := r.Since.Sub(r.Launched); !r.Launched.IsZero() && took >= 0 {
		text, unit := durationParts(took)
		steps[stepLoad].Figure = Figure{Text: "≤ " + text, Unit: unit,
			Title: "from its launch until its probe answered; how much of it was loading is told when the first answer is recorded"}
		caption += " " + span(took) + " after its launch"
	}
	asks := svc.Demand.InFlight > 0 || svc.Demand.Held > 0
	switch {
	case asks && now.Sub(r.Since) < svc.firstByteWithin():
		reach(steps, stepAnswered, "current", r.Since)
		return steps, caption + "; the first answer is being computed."
	case !asks && (svc.LastDemand == nil || svc.LastDemand.Before(r.Launched)):
		return steps, caption + "; nobody has asked it yet."
	}
	return steps, caption + "; its first answer is not recorded yet."
}

// toldStrip tells the last cold start, or that there is none.
func toldStrip(state string, starts []jobs.ColdStart) (steps []stripStep, caption string) {
	if len(starts) == 0 {
		return untouched(nil, false), "No cold start yet: the first request at zero makes one."
	}
	newest, told := starts[0], starts
	if state == jobs.StateReady { // something answered, whatever has failed beside it
		if i := slices.IndexFunc(starts, answered); i >= 0 {
			told = starts[i:]
		}
	}
	steps = untouched(told, false)
	failure := "The last start failed" + failureWords(newest.Failure) + "."
	if told[0].Outcome == jobs.OutcomeFailed {
		reach(steps, stepLoad, "failed", time.Time{})
		return steps, failure
	}
	if state == jobs.StateReady {
		reach(steps, stepAnswered, "done", time.Time{})
	}
	caption = "The last cold start took " + span(time.Duration(told[0].DurMS*float64(time.Millisecond)))
	if n := told[0].RequestsWaiting; n > 0 {
		caption += fmt.Sprintf("; %s waited", plural(n, "request"))
	}
	caption += "."
	if newest.Outcome == jobs.OutcomeFailed {
		caption += " " + failure
	}
	return steps, caption
}

// unanswered returns the replica that was ready first, if none of the ready
// ones has answered a request yet: no recorded cold start that ended in an
// answer is of one of them, or of another one during their life.
func unanswered(list []jobs.Replica, starts []jobs.ColdStart) *jobs.Replica {
	var ready []jobs.Replica
	for _, r := range list {
		if r.Phase == jobs.Ready {
			ready = append(ready, r)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	oldest := slices.MinFunc(ready, func(a, b jobs.Replica) int { return a.Launched.Compare(b.Launched) }).Launched
	for _, c := range starts {
		end := c.StartedAt.Add(time.Duration(c.DurMS * float64(time.Millisecond)))
		ofOne := slices.ContainsFunc(ready, func(r jobs.Replica) bool { return r.ID == c.Replica })
		if answered(c) && (ofOne || end.After(oldest)) {
			return nil
		}
	}
	first := slices.MinFunc(ready, func(a, b jobs.Replica) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Index, b.Index))
	})
	return &first
}

func answered(c jobs.ColdStart) bool { return c.Outcome == jobs.OutcomeAnswered }

// heldSince is when the oldest held request was accepted, zero if none is held.
func (svc service) heldSince() time.Time {
	if svc.Demand.Held == 0 || svc.Status.Oldest == nil {
		return time.Time{}
	}
	return svc.At.Add(-time.Duration(*svc.Status.Oldest * float64(time.Second)))
}

// firstByteWithin is how long the first byte of an answer may take.
func (svc service) firstByteWithin() time.Duration {
	if svc.Policy == nil || svc.Policy.Policy == nil {
		return 5 * time.Minute // the default of request.first_byte
	}
	return svc.Policy.Policy.Request.FirstByte
}

func failureWords(words string) string {
	if words == "" {
		return ""
	}
	return ": " + cutText(words, 200)
}

// furthestReplica is the one nearest to ready of those not ready yet.
func furthestReplica(list []jobs.Replica) *jobs.Replica {
	var best *jobs.Replica
	for i := range list {
		r := &list[i]
		switch {
		case r.Phase != jobs.Pending && r.Phase != jobs.Starting:
		case best == nil, best.Phase == jobs.Pending && r.Phase == jobs.Starting, best.Phase == r.Phase && best.Address == "" && r.Address != "":
			best = r
		}
	}
	return best
}
