package localfleet

import (
	"context"
	"slices"

	"github.com/pilotlight/pilotlight/jobs"
)

// watcher is one call of Watch. Fleet.mu guards changed.
type watcher struct {
	changed []jobs.Ref // not told yet, in order, each once
	wake    chan struct{}
}

// Watch calls changed, one call at a time, for every group as it stands now and
// then as soon as Observe of a group may answer differently; changes that come
// while changed runs are told once after it. It returns nil when ctx ends.
func (f *Fleet) Watch(ctx context.Context, changed func(ref jobs.Ref)) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	for _, g := range f.order {
		w.mark(g.ref)
	}
	f.watchers[w] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.watchers, w)
		f.mu.Unlock()
	}()
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
		f.mu.Lock()
		refs := w.changed
		w.changed = nil
		f.mu.Unlock()
		for _, ref := range refs {
			if ctx.Err() != nil {
				return nil
			}
			changed(ref)
		}
	}
}

func (w *watcher) mark(ref jobs.Ref) {
	if !slices.Contains(w.changed, ref) {
		w.changed = append(w.changed, ref)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// report tells every watcher that the group may look different. Fleet.mu is held.
func (f *Fleet) report(ref jobs.Ref) {
	for w := range f.watchers {
		w.mark(ref)
	}
}
