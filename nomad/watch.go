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
	explainEvery = 5 * time.Second        // while a group misses allocations
	explainGap   = 100 * time.Millisecond // least time between two looks
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
		if err == nil {
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

// relistLoop repairs what the stream has missed, and stands in for it.
func (f *Fleet) relistLoop(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = relistGap
	pause.MaxInterval = 5 * time.Second
	pause.MaxElapsedTime = 0 // never gives up
	var (
		index   uint64 // of the last list; 0: do not wait for a higher one
		failing bool
	)
	for {
		after := index
		if f.streaming.Load() {
			f.untilDeaf(ctx, relistEvery)
			after = 0
		} else {
			sleep(ctx, relistGap)
		}
		if ctx.Err() != nil {
			return
		}
		at, err := f.relist(ctx, after)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				f.log.WarnContext(ctx, "nomad cannot be read", "err", err)
			}
			failing, index = true, 0
			sleep(ctx, pause.NextBackOff())
			continue
		case failing:
			f.log.InfoContext(ctx, "nomad can be read again")
		}
		failing, index = false, at
		if at < after {
			index = 0 // an index that went back is another server's
		}
		pause.Reset()
	}
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

// explainLoop keeps the sentences current that say why allocations are missing.
func (f *Fleet) explainLoop(ctx context.Context) {
	for {
		again := time.NewTimer(explainEvery)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-f.doubt:
		case <-again.C:
		}
		again.Stop()
		cluster := f.readCluster(ctx)
		for _, key := range f.pic.keys() {
			if err := f.explain(ctx, key, cluster); err != nil && ctx.Err() == nil {
				f.log.WarnContext(ctx, "cannot tell why allocations are missing", "job", key.String(), "err", err)
			}
		}
		sleep(ctx, explainGap)
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
