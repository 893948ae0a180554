package nomad

import (
	"context"
	"sync"
)

// heardOfJob takes in what the event stream says of a job. A version that may be
// somebody else's is not shown before it is known whose.
func (f *Fleet) heardOfJob(key jobKey, info jobInfo) {
	if f.pic.explains(key, info) {
		f.pic.applyJob(key, info)
		return
	}
	f.learnOf(key, info.version)
}

// learnOf has the job read, unless its version is known by then, and compared
// with its spec.
func (f *Fleet) learnOf(key jobKey, version uint64) {
	f.pic.mu.Lock()
	f.pic.unlearned[key] = max(version, f.pic.unlearned[key])
	f.pic.mu.Unlock()
	signal(f.unlearned)
}

// learnLoop learns about the jobs that learnOf names. Each on its own, once at a
// time: one whose scale call hangs holds up no other.
func (f *Fleet) learnLoop(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.unlearned:
		}
		for key, version := range f.pic.takeUnlearned() {
			wg.Go(func() {
				f.learn(ctx, key, version)
				if f.pic.learned(key) {
					signal(f.unlearned)
				}
			})
		}
	}
}

// takeUnlearned returns what is to be learned about and is not by anybody yet:
// the caller does from now on, until learned.
func (p *picture) takeUnlearned() map[jobKey]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	todo := make(map[jobKey]uint64)
	for key, version := range p.unlearned {
		if _, busy := p.learning[key]; !busy {
			todo[key] = version
			p.learning[key] = struct{}{}
			delete(p.unlearned, key)
		}
	}
	return todo
}

// learned ends what takeUnlearned began, and reports whether there is more to
// learn about the job by now.
func (p *picture) learned(key jobKey) (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.learning, key)
	_, more = p.unlearned[key]
	return more
}

func (f *Fleet) learn(ctx context.Context, key jobKey, version uint64) {
	err := retrying(ctx, func() error {
		// After a scale call of our own, whose answer may explain it.
		end, err := f.turn(ctx, key)
		if err != nil {
			return err
		}
		defer end()
		if info, present, _, _ := f.pic.job(key); present && info.index > 0 && info.version >= version {
			return nil
		}
		return unlessPassing(f.readJob(ctx, key))
	})
	if err != nil && ctx.Err() == nil {
		// The next list finds it again.
		f.log.WarnContext(ctx, "cannot tell who changed a job", "job", key.String(), "err", err)
		return
	}
	f.compare(ctx, key)
}
