package scaler

import (
	"context"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// lastWords bounds what a stopping scaler still reads, and then what it writes:
// together less than what is left of a lease that was renewed in time.
const lastWords = 600 * time.Millisecond

// detached returns a context that outlives the loop by lastWords, for a call
// whose outcome would be lost if it were cut.
func (s *service) detached() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	stop := context.AfterFunc(s.ctx, func() { time.AfterFunc(lastWords, cancel) })
	return ctx, func() { stop(); cancel() }
}

// close is the end of the loop in an orderly stop: it writes what has not been
// written, with the cold starts that have ended by now.
func (s *service) close() {
	if !s.ses.orderly.Load() || !s.loaded || s.cannot == "" && s.decidedAt.IsZero() {
		return
	}
	s.calls.Wait() // each ends with the loop, or within lastWords
	now := time.Now()
	for _, letter := range s.mail.open() {
		letter(now)
	}
	for id := range s.logs.awaited {
		s.endWithout(now, id)
	}
	e := &s.entry
	if s.rests(now) && !s.learned && !s.changed && len(e.Points)+len(e.Decisions)+len(e.ColdStarts) == 0 {
		return // all of it is written
	}
	ctx, cancel := s.detached()
	defer cancel()
	if s.awaitsAnswers(now) {
		answers, err := s.ses.cfg.Ledger.FirstAnswers(ctx, s.name)
		if err != nil {
			s.log.Warn("cannot read the first answers", "err", err)
		}
		parted := s.parted
		s.parted = nil
		s.onAnswers(now, answers)
		s.judgeParted(now, parted, answers)
	}
	for _, r := range s.replicas {
		if r.story && r.answer != nil { // when its process started will not be told any more
			s.finish(now, r, jobs.OutcomeAnswered)
		}
	}
	s.savedAt = time.Time{}
	s.describe(now)
	s.entry.Recorded = s.recorded.take()
	s.entry.Shadow = s.shadow.take()
	s.entry.Epoch = s.ses.last.Load()
	if err := s.ses.cfg.History.Write(ctx, s.entry); err != nil {
		s.log.Warn("cannot write the last of the history", "err", err)
	}
}
