package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// verbWords is how an operator's command is offered and confirmed.
type verbWords struct {
	label string // of the button
	about string // for openapi.json
}

var verbs = map[string]verbWords{
	jobs.VerbWake:   {"Wake", "Launch a replica as if a request had come"},
	jobs.VerbSleep:  {"Sleep", "Drain to zero until the next request"},
	jobs.VerbPause:  {"Pause", "Change nothing, and take no new requests while at zero"},
	jobs.VerbResume: {"Resume", "End a pause or a sleep, and bring a job back that was stopped or purged in Nomad"},
	jobs.VerbPin:    {"Pin", "Hold exactly this many replicas"},
	jobs.VerbUnpin:  {"Unpin", "Let the policy decide again"},
}

// Sentence says what the service is doing, or what it waits for.
func (svc service) Sentence(now time.Time) string {
	if !svc.Known {
		return "At zero as far as is known: the scaler has not reported on it yet."
	}
	switch r := svc.Replicas; svc.State {
	case jobs.StateZero:
		return "At zero. The next request wakes it; " + svc.usualStart() + "."
	case jobs.StateWaking:
		return "Waking: " + svc.waiting() + svc.doing() + svc.eta() + "."
	case jobs.StateReady:
		s := fmt.Sprintf("Ready: %d of %s; %s in flight", r.Ready, plural(r.Wanted, "wanted replica"), plural(svc.Demand.InFlight, "request"))
		if svc.Demand.Held > 0 {
			s += "; " + svc.waitingWords()
		}
		if r.Wanted > r.Ready {
			s += ";" + svc.doing()
		}
		return s + "."
	case jobs.StateDraining:
		return fmt.Sprintf("Draining to zero: %s to finish at %s.", plural(svc.Demand.InFlight, "request"), plural(len(r.List), "replica"))
	case jobs.StateBlocked:
		s := "Blocked: " + svc.blockedWords()
		if svc.BlockedUntil != nil && svc.BlockedUntil.After(now) {
			s += "; the next try is in " + span(svc.BlockedUntil.Sub(now))
		}
		if svc.Demand.Held > 0 {
			s += "; " + svc.waitingWords()
		}
		return s + "."
	case jobs.StatePaused:
		return svc.pausedSentence()
	}
	return "In a state that this version does not know: " + svc.State + "."
}

// pausedSentence says by whose will nothing is launched: whoever stopped the job,
// whoever holds the count at 0, or an operator who paused the service.
func (svc service) pausedSentence() string {
	r := svc.Replicas
	const refused = " While no replica is ready, requests are refused."
	switch {
	case svc.has(jobs.NoticeStopped):
		return "Stopped in Nomad: nothing is launched until the job is started again or the service is resumed." + refused
	case svc.Pinned != nil && *svc.Pinned == 0 && r.Ready == 0 && svc.Blocked != nil:
		return "Held at 0: " + strings.TrimSuffix(*svc.Blocked, ".") + "." + refused
	}
	who := "Paused by an operator"
	switch {
	case svc.Paused != nil:
		who = strings.TrimSuffix(sentence(*svc.Paused), ".")
	case svc.Blocked != nil: // by a scaler that does not tell the other yet
		who = strings.TrimSuffix(sentence(*svc.Blocked), ".")
	}
	if svc.PausedAt != nil {
		who += ", since " + svc.PausedAt.UTC().Format("Jan 2 15:04 UTC")
	}
	return fmt.Sprintf("%s; nothing changes. %d of %s ready.%s", who, r.Ready, plural(r.Wanted, "wanted replica"), refused)
}

func (svc service) blockedWords() string {
	if svc.Blocked == nil || *svc.Blocked == "" {
		return "no reason was given"
	}
	return *svc.Blocked
}

func (svc service) usualStart() string {
	if svc.Cold.P50 == nil {
		return "how long a cold start takes is not known yet"
	}
	return fmt.Sprintf("a cold start takes about %s (median of %d)", span(time.Duration(*svc.Cold.P50*float64(time.Second))), svc.Cold.Count)
}

// waiting is "3 requests held, the oldest for 12 s;", with what follows.
func (svc service) waiting() string {
	if svc.Demand.Held == 0 {
		return "nobody waits;"
	}
	return svc.waitingWords() + ";"
}

func (svc service) waitingWords() string {
	s := plural(svc.Demand.Held, "request") + " held"
	if svc.Oldest != nil {
		s += ", the oldest for " + span(time.Duration(*svc.Oldest*float64(time.Second)))
	}
	return s
}

func (svc service) doing() string {
	switch r := svc.Replicas; {
	case r.Starting > 0 && svc.prepared() == r.Starting:
		return " " + plural(r.Starting, "replica") + " being prepared"
	case r.Starting > 0:
		return " " + plural(r.Starting, "replica") + " loading"
	case r.Pending > 0:
		return " " + plural(r.Pending, "replica") + " being placed"
	}
	return " launching"
}

// prepared counts the replicas whose nodes still fetch what they need: their tasks
// do not run yet.
func (svc service) prepared() (n int) {
	for _, r := range svc.Replicas.List {
		if r.Phase == jobs.Starting && r.Progress != "" {
			n++
		}
	}
	return n
}

func (svc service) eta() string {
	if svc.ETA == nil {
		return ", time left unknown"
	}
	return ", about " + span(time.Duration(*svc.ETA*float64(time.Second))) + " left"
}

// consequence is what a command will do, said before it is done.
func (svc service) consequence(verb string) string {
	busy := ""
	if svc.Demand.InFlight > 0 {
		busy = " " + plural(svc.Demand.InFlight, "request") + " in flight will finish first" + svc.drainLimit() + "."
	}
	switch verb {
	case jobs.VerbWake:
		return "One replica is launched, if none is there: " + svc.usualStart() + "."
	case jobs.VerbSleep:
		return fmt.Sprintf("All replicas (%d ready, %d starting) are drained and stopped.%s %s The next request wakes the service again.",
			svc.Replicas.Ready, svc.Replicas.Pending+svc.Replicas.Starting, busy, svc.heldWords())
	case jobs.VerbPause:
		return fmt.Sprintf("The scaler stops changing this service: it keeps %s. While none is ready, requests are refused with 503. %s", plural(svc.Replicas.Wanted, "replica"), svc.heldWords())
	case jobs.VerbResume:
		return svc.resumption()
	case jobs.VerbPin:
		return fmt.Sprintf("Exactly that many replicas are kept, whatever the demand, until it is unpinned. Now: %d wanted, %d ready.%s", svc.Replicas.Wanted, svc.Replicas.Ready, busy)
	case jobs.VerbUnpin:
		if svc.Pinned == nil {
			return "It is not pinned: nothing changes."
		}
		return fmt.Sprintf("The count of %d is not held any more: the policy decides again, at once. Now: %d wanted, %d ready.%s", *svc.Pinned, svc.Replicas.Wanted, svc.Replicas.Ready, busy)
	}
	return ""
}

// resumption is what becomes of a service that is resumed. Which of the two a
// stopped job needs, its notice says.
func (svc service) resumption() string {
	then := "The policy decides again, at once."
	if svc.Pinned != nil {
		then = "It stays pinned to " + plural(*svc.Pinned, "replica") + "."
	}
	if !svc.has(jobs.NoticeStopped) {
		return then
	}
	job := "The job"
	if svc.Policy != nil && svc.Policy.Policy != nil {
		job = "Job " + svc.Policy.Policy.Job
	}
	return job + " is started again in Nomad, with count 0, as it was registered last; if it was purged, the job spec that Pilotlight has of it is registered. " + then
}

func (svc service) heldWords() string {
	if svc.Demand.Held == 0 {
		return "Nobody is held."
	}
	return plural(svc.Demand.Held, "held request") + " may be refused with 503."
}

func (svc service) drainLimit() string {
	if svc.Policy == nil || svc.Policy.Policy == nil {
		return ""
	}
	return ", up to " + span(svc.Policy.Policy.ScaleDown.DrainTimeout)
}

// offered are the commands that make sense in the state that svc is in.
func (svc service) offered() []string {
	switch {
	case svc.Policy == nil:
		return nil
	case svc.has(jobs.NoticeStopped):
		return []string{jobs.VerbResume}
	case svc.State == jobs.StatePaused && svc.Pinned != nil && *svc.Pinned == 0:
		return []string{jobs.VerbUnpin} // if it is paused as well, that is offered next
	case svc.State == jobs.StatePaused:
		return []string{jobs.VerbResume}
	case svc.State == jobs.StateZero || svc.State == jobs.StateDraining:
		return []string{jobs.VerbWake, jobs.VerbPause}
	}
	return []string{jobs.VerbSleep, jobs.VerbPause}
}
