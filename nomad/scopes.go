package nomad

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/nomad/api"
)

const (
	// maxScopes is how many namespaces are listened to one by one. Each holds a
	// connection. Beyond that all are listened to at once, for which the token needs
	// its rights in namespace "*": Nomad refuses such a stream to one that has them
	// in each namespace by itself.
	maxScopes = 8
	// forgetAfter is how long a job is kept that nobody asks about.
	forgetAfter = time.Hour
	// forgetEvery is how often such jobs are looked for.
	forgetEvery = 10 * time.Minute
)

// listener is what hears of one scope: a namespace, or "*" for all.
type listener struct {
	scope     string
	streaming atomic.Bool   // its event stream has spoken and lives
	deaf      chan struct{} // one token: the stream has ended
	reopen    chan struct{} // one token: the stream has to be asked for something else
}

// listen has a listener for each scope while ctx lasts, and lets the picture
// forget what nobody asks about.
func (f *Fleet) listen(ctx context.Context) {
	ends := make(map[string]func())
	defer func() {
		for _, end := range ends {
			end()
		}
	}()
	sweep := time.NewTicker(forgetEvery)
	defer sweep.Stop()
	for {
		wanted := f.pic.scopes()
		for scope, end := range ends {
			if !slices.Contains(wanted, scope) {
				end()
				delete(ends, scope)
			}
		}
		for _, scope := range wanted {
			if ends[scope] == nil {
				ends[scope] = f.startListener(ctx, scope)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-f.rescope:
		case now := <-sweep.C:
			f.pic.forget(now.Add(-forgetAfter))
		}
	}
}

// startListener starts the two loops of a listener and returns what ends them.
func (f *Fleet) startListener(ctx context.Context, scope string) (end func()) {
	l := &listener{scope: scope, deaf: make(chan struct{}, 1), reopen: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(ctx)
	f.mu.Lock()
	f.listeners[scope] = l
	f.mu.Unlock()
	var loops sync.WaitGroup
	loops.Go(func() { f.streamLoop(ctx, l) })
	loops.Go(func() { f.relistLoop(ctx, l) })
	return func() {
		cancel()
		loops.Wait()
		f.mu.Lock()
		delete(f.listeners, scope)
		f.mu.Unlock()
	}
}

// reopenStreams has every stream asked for again.
func (f *Fleet) reopenStreams() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		signal(l.reopen)
	}
}

// streams reports whether the event stream of a scope lives.
func (f *Fleet) streams(scope string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.listeners[scope]
	return l != nil && l.streaming.Load()
}

// Heard returns when Nomad last answered with the present, zero if never, and
// whether the event stream lives; of several namespaces those of the one that was
// not heard for longest. While Watch runs and all is well that is at most some
// seconds ago; a stream that beats without a leader behind it does not count.
func (f *Fleet) Heard() (at time.Time, streaming bool) {
	streaming = true
	for i, scope := range f.pic.scopes() {
		heard := f.pic.heardOf(scope)
		if i == 0 || heard.Before(at) {
			at = heard
		}
		streaming = streaming && f.streams(scope)
	}
	return at, streaming
}

// believed reports whether the picture of a job is as good as asking Nomad.
func (f *Fleet) believed(key jobKey) bool {
	return f.watching.Load() && f.streams(f.pic.scopeOf(key.namespace)) &&
		time.Since(f.pic.heardOf(key.namespace)) < believedFor
}

// believedFor is how old the picture may be: two checks and a list that failed.
const believedFor = 2*checkEvery + readTimeout

// contactState is what is known of one scope.
type contactState struct {
	heard   time.Time // when Nomad last answered with the present
	silence string    // why it is no longer heard, "" while it is
}

// scopes returns what is to be listened to: the namespaces of the tracked jobs,
// "*" alone if there are more than maxScopes, the home namespace while there are
// none.
func (p *picture) scopes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch n := len(p.tracking); {
	case n == 0:
		return []string{p.home}
	case n > maxScopes:
		return []string{api.AllNamespacesNamespace}
	}
	return slices.Sorted(maps.Keys(p.tracking))
}

// scopeOf returns the scope that a namespace is listened to by.
func (p *picture) scopeOf(namespace string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tracking) > maxScopes {
		return api.AllNamespacesNamespace
	}
	return namespace
}

// covers reports whether a namespace is of the scope.
func covers(scope, namespace string) bool {
	return scope == api.AllNamespacesNamespace || scope == namespace
}

// keysIn returns the tracked jobs of a scope.
func (p *picture) keysIn(scope string) []jobKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make([]jobKey, 0, len(p.jobs))
	for key := range p.jobs {
		if covers(scope, key.namespace) {
			keys = append(keys, key)
		}
	}
	return keys
}

// forget drops the jobs that nobody has asked about since. Who asks again finds
// what a process that starts finds.
func (p *picture) forget(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, j := range p.jobs {
		if j.asked.After(since) {
			continue
		}
		for ref := range j.refs {
			delete(p.dirty, ref)
		}
		delete(p.jobs, key)
		delete(p.unlearned, key)
		if p.tracking[key.namespace]--; p.tracking[key.namespace] == 0 {
			delete(p.tracking, key.namespace)
			delete(p.contacts, key.namespace)
		}
	}
}

// hear takes in that Nomad has answered about a scope with the present.
func (p *picture) hear(scope string, m meta) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.contacts[scope]; m.fresh && m.at.After(c.heard) {
		p.contacts[scope] = contactState{heard: m.at}
	}
}

// lose takes in why a scope could not be read as it is now.
func (p *picture) lose(scope, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.contacts[scope]
	c.silence = why
	p.contacts[scope] = c
}

// heardOf returns when Nomad last answered about a namespace with the present.
func (p *picture) heardOf(namespace string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.contactOf(namespace).heard
}

// contactOf is what is known of the scope of a namespace. p.mu is held.
func (p *picture) contactOf(namespace string) contactState {
	now, other := p.contacts[namespace], p.contacts[api.AllNamespacesNamespace]
	if len(p.tracking) > maxScopes {
		now, other = other, now
	}
	if other.heard.After(now.heard) {
		now.heard = other.heard // the scope has become another meanwhile
	}
	return now
}
