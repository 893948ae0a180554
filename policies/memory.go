package policies

import (
	"context"
	"slices"
	"sync"
)

// Memory is a Store that forgets at exit.
type Memory struct {
	mu       sync.Mutex
	versions map[string][]Version // by name, oldest first
	watchers map[chan struct{}]struct{}
}

// NewMemory returns an empty Store.
func NewMemory() *Memory {
	return &Memory{versions: map[string][]Version{}, watchers: map[chan struct{}]struct{}{}}
}

var _ Store = (*Memory)(nil)

// List implements Store.
func (m *Memory) List(ctx context.Context) ([]Version, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return allLive(m.current())
}

// Get implements Store.
func (m *Memory) Get(ctx context.Context, name string) (Version, error) {
	if err := ctx.Err(); err != nil {
		return Version{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return live(m.current(), name)
}

// Put implements Store.
func (m *Memory) Put(ctx context.Context, name, text string, base int, author, comment string) (Version, error) {
	draft, err := newDraft(name, text, author, comment)
	if err != nil {
		return Version{}, err
	}
	return m.change(ctx, draft, base)
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, name string, base int, author, comment string) (Version, error) {
	return m.change(ctx, newTombstone(name, author, comment), base)
}

func (m *Memory) change(ctx context.Context, draft Version, base int) (Version, error) {
	if err := ctx.Err(); err != nil {
		return Version{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	current := m.current()
	next, err := succeed(current, draft, base)
	if err != nil {
		return Version{}, err
	}
	for _, name := range outdated(current, next) {
		delete(m.versions, name)
	}
	history := append(m.versions[next.Name], next)
	m.versions[next.Name] = history[max(len(history)-maxVersions, 0):]
	for w := range m.watchers {
		select {
		case w <- struct{}{}:
		default: // it has been told of an earlier change and has not looked yet
		}
	}
	return next, nil
}

// current returns the newest version of every policy, deleted ones too.
func (m *Memory) current() map[string]Version {
	newest := make(map[string]Version, len(m.versions))
	for name, history := range m.versions {
		newest[name] = history[len(history)-1]
	}
	return newest
}

// Versions implements Store.
func (m *Memory) Versions(ctx context.Context, name string) ([]Version, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	history := slices.Clone(m.versions[name])
	if len(history) == 0 {
		return nil, ErrNotFound
	}
	slices.Reverse(history)
	return history, nil
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context, changed func()) error {
	told := make(chan struct{}, 1)
	m.mu.Lock()
	m.watchers[told] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, told)
		m.mu.Unlock()
	}()
	changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-told:
			changed()
		}
	}
}
