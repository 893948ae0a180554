package web

import (
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// What keeps a service from having the replicas it should have: values of the
// label reason of pilotlight_blocked, and of the input "blocked" of the decisions
// by which the scaler tells it.
const (
	blockCannotRun   = "cannot-run"
	blockStartFailed = "start-failed"
	blockNoCapacity  = "no-capacity"
	blockDeployment  = "deployment"
	blockDenied      = "permission-denied"
	blockUnreachable = "fleet-unreachable"
	blockRefused     = "refused"
)

// block is what is in a service's way, and what to do about it.
type block struct {
	Said   string // what it is; "" where the sentence above has said it
	Advice string
}

// retold is within what time the scaler tells again in a decision what is in the
// way, if the words for it have changed.
const retold = 90 * time.Second

// block says what is in the way of the replicas that are wanted, nil if nothing
// is, or if it is somebody's will, which is told apart. decisions are the latest,
// newest first: they tell of what kind it is.
func (svc service) block(now time.Time, decisions []decide.Decision) *block {
	if svc.Status.Blocked == nil || svc.State == jobs.StatePaused || svc.has(jobs.NoticeStopped) {
		return nil
	}
	b := &block{Advice: svc.advice(svc.blockKind(now, decisions))}
	if svc.State != jobs.StateBlocked {
		b.Said = sentence(*svc.Status.Blocked)
	}
	return b
}

// blockKind is "" if it is not known yet.
func (svc service) blockKind(now time.Time, decisions []decide.Decision) string {
	for _, d := range decisions {
		kind, known := d.Inputs["blocked"].(string)
		if d.Rule != "blocked" || !known {
			continue
		}
		if strings.HasSuffix(d.Reason, *svc.Status.Blocked) || now.Sub(d.At) < retold {
			return kind
		}
		break
	}
	if svc.has(jobs.NoticeDeployment) {
		return blockDeployment
	}
	return ""
}

func (svc service) advice(kind string) string {
	job := "JOB"
	if svc.Policy != nil && svc.Policy.Policy != nil {
		job = svc.Policy.Policy.Job
	}
	switch kind {
	case blockNoCapacity:
		return "It goes on by itself as soon as there is room. To make room: put another service to sleep or lower its pin, add a node, or ask for less in the job spec; “pilotlight job plan FILE” says how many replicas fit."
	case blockStartFailed:
		return "The last words are below, with the replicas and the cold starts. It tries again by itself; Wake tries at once, and so does registering the job again once it is mended."
	case blockCannotRun:
		return "Correct the job spec or the policy; “pilotlight job check” says what is wrong with either, and “pilotlight job plan FILE” what the cluster says to it. It tries again by itself."
	case blockDeployment:
		return "It goes on by itself when the deployment is over. See it with “nomad job deployments " + job + "”, end it with “nomad deployment fail ID”. A job with update { max_parallel = 0 } never waits for one."
	case blockDenied:
		return "Warm traffic goes on. Give the scaler's token what it lacks; “pilotlight doctor” names each missing right."
	case blockUnreachable:
		return "Warm traffic goes on, and it goes on by itself when Nomad answers. Whether there is a leader says “nomad server members”; whether the scaler reaches it, “pilotlight doctor”."
	case blockRefused:
		return "It tries again by itself. “nomad job status " + job + "” shows how the job stands, and “pilotlight doctor” examines the rest."
	}
	if svc.BlockedUntil != nil {
		return "It tries again by itself. The decisions and the cold starts below say what has failed."
	}
	return "It goes on by itself when that is over. “pilotlight doctor” examines Nomad."
}
