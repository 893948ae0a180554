package nomad

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/pilotlight/pilotlight/jobs"
)

const (
	relistEvery  = 30 * time.Second       // while the stream lives
	blockingWait = 5 * time.Second        // of a list while it does not
	relistGap    = 250 * time.Millisecond // least time between two such lists
	checkEvery   = 5 * time.Second        // whether there is a leader, while the stream lives
)

// Watch keeps the picture current and calls changed, never twice at once, for
// each group whose observation may have changed. Changes that come while
// changed runs are told once. It returns when ctx ends, nil then; failures are
// retried inside. Only one Watch may run at a time.
func (f *Fleet) Watch(ctx context.Context, changed func(ref jobs.Ref)) error {
	if !f.watching.CompareAndSwap(false, true) {
		return errors.New("nomad: Watch runs already")
	}
	defer f.watching.Store(false)
	var wg sync.WaitGroup
	wg.Go(func() { f.listen(ctx) })
	wg.Go(func() { f.learnLoop(ctx) })
	wg.Go(func() { f.explainLoop(ctx) })
	wg.Go(func() { f.logLoop(ctx) })
	wg.Go(func() { f.dispatch(ctx, changed) })
	wg.Wait()
	return nil
}

// streamLoop follows the event stream of a listener, each time from a fresh list
// on. What ends it is said once until it has worked again.
func (f *Fleet) streamLoop(ctx context.Context, l *listener) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = 10 * time.Second
	pause.MaxElapsedTime = 0 // never gives up
	var told sayings
	for ctx.Err() == nil {
		began := time.Now()
		index, err := f.relist(ctx, l.scope, 0)
		opened := err == nil || errors.Is(err, errStale)
		if opened {
			err = f.follow(ctx, l, index+1)
		}
		if l.streaming.Swap(false) && time.Since(began) > pause.MaxInterval {
			pause.Reset() // it had worked
			told.over()
		}
		signal(l.deaf)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errReopen) {
			continue
		}
		if opened && told.isNew(err) { // what lists say is said by relistLoop
			f.log.WarnContext(ctx, "event stream ended; lists stand in until it is back", "namespace", l.scope, "err", err)
		}
		sleep(ctx, pause.NextBackOff())
	}
}

// relistLoop repairs what the stream has missed, and stands in for it. It is
// also what says that Nomad is heard: heartbeats come without a leader too.
func (f *Fleet) relistLoop(ctx context.Context, l *listener) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = relistGap
	pause.MaxInterval = checkEvery
	pause.MaxElapsedTime = 0 // never gives up
	var (
		index uint64    // of the last list; 0: do not wait for a higher one
		last  time.Time // when it was read
		told  sayings   // failures that were logged
	)
	for {
		after := index
		if l.streaming.Load() {
			after = 0
			l.untilDeaf(ctx, checkEvery)
			if ctx.Err() == nil && l.streaming.Load() && !told.any() && !f.listDue(l.scope, last) && f.check(ctx, l.scope) == nil {
				continue
			}
		} else {
			sleep(ctx, relistGap)
		}
		if ctx.Err() != nil {
			return
		}
		at, err := f.relist(ctx, l.scope, after)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.pic.lose(l.scope, err.Error())
			if told.isNew(err) {
				f.log.WarnContext(ctx, "nomad cannot be read as it is now", "namespace", l.scope, "err", err)
			}
			index = 0
			if leaderless(err) {
				_ = f.relistStale(ctx, l.scope) // adds to the picture; that it is stale is said already
			}
			sleep(ctx, pause.NextBackOff())
			continue
		}
		if told.any() {
			told.over()
			f.log.InfoContext(ctx, "nomad can be read again", "namespace", l.scope)
		}
		index, last = at, time.Now()
		if at < after {
			index = 0 // an index that went back is another server's
		}
		pause.Reset()
	}
}

// listDue reports whether the list of last has been good for long enough while
// the stream lives. An allocation that no list has had cannot wait so long: only
// lists tell which version of its job it runs.
func (f *Fleet) listDue(scope string, last time.Time) bool {
	return f.pic.takeUnlisted(scope) || time.Since(last) > relistEvery-checkEvery/2
}

// untilDeaf waits for d or the end of the event stream.
func (l *listener) untilDeaf(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-l.deaf:
	case <-t.C:
	}
}

// sayings are the failures that were logged since all was well. Several may
// take turns, and each is said once.
type sayings map[string]bool

// maxSayings bounds how many differing failures are logged.
const maxSayings = 8

// isNew reports whether err is to be logged.
func (s *sayings) isNew(err error) bool {
	text := err.Error()
	if (*s)[text] || len(*s) >= maxSayings {
		return false
	}
	if *s == nil {
		*s = make(sayings)
	}
	(*s)[text] = true
	return true
}

func (s sayings) any() bool { return len(s) > 0 }

// over takes in that all is well again.
func (s sayings) over() { clear(s) }

// dispatch tells what has changed, one at a time.
func (f *Fleet) dispatch(ctx context.Context, changed func(ref jobs.Ref)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.pic.wake:
		}
		for _, ref := range f.pic.takeDirty() {
			if ctx.Err() != nil {
				return
			}
			changed(ref)
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
