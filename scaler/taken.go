package scaler

import (
	"fmt"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// A job group belongs to one service at a time. Policies that stand side by side
// never name one group twice, but a group changes hands: a policy is moved to
// another job, or deleted, and its replicas still finish their requests when
// another policy names the job. Two loops would then each set its count, and stop
// each other's replicas. So whoever comes waits until whoever leaves has emptied
// it; its requests are held meanwhile and it says for whom it waits.

// loadPatience is how long a service that never had its group waits until all
// others have said which they have: what they remember is read one by one.
const loadPatience = 10 * time.Second

// holding is a group and whose it is.
type holding struct {
	ref jobs.Ref
	by  *service
}

// take makes the group of s its own, unless another has it: then it returns that
// one's name. ok is false as long as it may not be used. Whoever is told to wait
// gets onFree when it is worth to ask again.
func (ses *session) take(s *service, ref jobs.Ref, had bool) (by string, ok bool) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return ses.claim(s, ref, had || ses.unloaded == 0 && ses.listed || time.Since(ses.began) >= loadPatience)
}

// claim is take, which may give what nobody has; ses.mu is held.
func (ses *session) claim(s *service, ref jobs.Ref, may bool) (by string, ok bool) {
	list := ses.taken[ref.Job]
	for i, h := range list {
		switch {
		case h.by == s:
			list[i].ref = ref // resolved since
			return "", true
		case sameGroup(h.ref, ref):
			ses.waiting[s] = true
			return h.by.name, false
		}
	}
	if !may {
		ses.waiting[s] = true
		return "", false
	}
	ses.taken[ref.Job] = append(list, holding{ref, s})
	return "", true
}

// release gives up what s has taken.
func (ses *session) release(s *service, job string) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.free(s, job)
}

// free is release; ses.mu is held.
func (ses *session) free(s *service, job string) {
	list := ses.taken[job]
	for i, h := range list {
		if h.by != s {
			continue
		}
		if len(list) == 1 {
			delete(ses.taken, job)
		} else {
			ses.taken[job] = append(list[:i:i], list[i+1:]...)
		}
		ses.tellWaiting()
		return
	}
}

// hasLoaded notes that it is known which group s has had. That group is its own
// before others are told that they may take what nobody has.
func (ses *session) hasLoaded(s *service) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if s.had && s.ref.Job != "" {
		ses.claim(s, s.ref, true) // if another has it, s meets that at its next step
	}
	ses.loaded(s)
}

// loaded is hasLoaded; ses.mu is held.
func (ses *session) loaded(s *service) {
	if !s.unloaded {
		return
	}
	s.unloaded = false
	if ses.unloaded--; ses.unloaded == 0 && ses.listed {
		ses.tellWaiting()
	}
}

// allListed notes that every service has been begun that was there before.
func (ses *session) allListed() {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.listed = true; ses.unloaded == 0 {
		ses.tellWaiting()
	}
}

// tellWaiting lets those ask again who wait for a group; ses.mu is held.
func (ses *session) tellWaiting() {
	for s := range ses.waiting {
		s.mail.post(s.onFree)
	}
	clear(ses.waiting)
}

// takes reports whether the service's group is its own, and takes it if nobody has
// it.
func (s *service) takes(now time.Time) bool {
	if s.mine {
		return true
	}
	by, ok := s.ses.take(s, s.ref, s.had)
	switch {
	case ok:
		s.mine = true
		if s.cannotKind == kindInUse {
			s.cannot, s.cannotKind, s.changed = "", "", true
		}
	case by != "" && s.leaving:
		s.lost = true // nothing is left to empty: it is another's
	case by != "":
		why := fmt.Sprintf("%s is still run by service %q, which has not emptied it yet: its requests finish first (scale_down.drain_timeout)", s.ref, by)
		if why != s.cannot {
			s.cannot, s.cannotKind, s.changed = why, kindInUse, true
			s.log.Info("waits for another service to leave its job", "reason", why)
		}
	}
	return s.mine
}

// onFree takes in that a group which was waited for may be free now.
func (s *service) onFree(time.Time) { s.ensureAfter = time.Time{} }
