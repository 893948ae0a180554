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
	wg.Go(func() { f.streamLoop(ctx) })
	wg.Go(func() { f.relistLoop(ctx) })
	wg.Go(func() { f.learnLoop(ctx) })
	wg.Go(func() { f.explainLoop(ctx) })
	wg.Go(func() { f.logLoop(ctx) })
	wg.Go(func() { f.dispatch(ctx, changed) })
	wg.Wait()
	return nil
}

// streamLoop follows the event stream, each time from a fresh list on.
func (f *Fleet) streamLoop(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = 10 * time.Second
	pause.MaxElapsedTime = 0 // never gives up
	var told string
	for ctx.Err() == nil {
		began := time.Now()
		index, err := f.relist(ctx, 0)
		if err == nil || errors.Is(err, errStale) {
			err = f.follow(ctx, index+1)
		}
		if time.Since(began) > pause.MaxInterval {
			pause.Reset() // it had worked
			told = ""
		}
		f.streaming.Store(false)
		signal(f.deaf)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRescoped) {
			continue
		}
		if err.Error() != told {
			told = err.Error()
			f.log.WarnContext(ctx, "event stream ended; lists stand in until it is back", "err", err)
		}
		sleep(ctx, pause.NextBackOff())
	}
}

// relistLoop repairs what the stream has missed, and stands in for it. It is
// also what says that Nomad is heard: heartbeats come without a leader too.
func (f *Fleet) relistLoop(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = relistGap
	pause.MaxInterval = checkEvery
	pause.MaxElapsedTime = 0 // never gives up
	var (
		index uint64    // of the last list; 0: do not wait for a higher one
		last  time.Time // when it was read
		told  string    // the failure that was logged last
	)
	for {
		after := index
		if f.streaming.Load() {
			after = 0
			f.untilDeaf(ctx, checkEvery)
			if ctx.Err() == nil && f.streaming.Load() && told == "" && !f.listDue(last) && f.check(ctx) == nil {
				continue
			}
		} else {
			sleep(ctx, relistGap)
		}
		if ctx.Err() != nil {
			return
		}
		at, err := f.relist(ctx, after)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if told != err.Error() {
				told = err.Error()
				f.log.WarnContext(ctx, "nomad cannot be read as it is now", "err", err)
			}
			index = 0
			if leaderless(err) {
				_ = f.relistStale(ctx) // adds to the picture; that it is stale is said already
			}
			sleep(ctx, pause.NextBackOff())
			continue
		}
		if told != "" {
			told = ""
			f.log.InfoContext(ctx, "nomad can be read again")
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
func (f *Fleet) listDue(last time.Time) bool {
	return f.pic.takeUnlisted() || time.Since(last) > relistEvery-checkEvery/2
}

// untilDeaf waits for d or the end of the event stream.
func (f *Fleet) untilDeaf(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-f.deaf:
	case <-t.C:
	}
}

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
