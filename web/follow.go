package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/errgroup"

	"github.com/pilotlight/pilotlight/policies"
)

const (
	gatherFor    = 40 * time.Millisecond // changes that come together are read together
	repairEvery  = 5 * time.Second       // what was not announced, or could not be read, is found then
	latestPerTry = 20                    // decisions and cold starts looked at for new ones
)

// change is a topic and the service it is about ("" is all of them).
type change struct{ topic, service string }

// follower turns announcements into events: it reads what is said to have
// changed and publishes what differs from what was published before.
type follower struct {
	s *Server

	mu    sync.Mutex
	dirty map[change]struct{}
	wake  chan struct{} // capacity 1

	// Owned by the loop.
	unread    map[change]struct{} // that could not be read, for the repair
	statuses  map[string][]byte   // as last published, without the time
	decisions published
	starts    published
	policies  map[string]VersionInfo // nil until first read
	began     time.Time              // what is older was there before the stream
}

// published is which entries of each service have been, by id. The time of the
// last one would not do: two may be of one moment, and one may be stored after
// another that is later.
type published map[string][]string

// news reports whether an entry has not been published, and notes that it is now.
func (p published) news(service, id string) bool {
	if slices.Contains(p[service], id) {
		return false
	}
	const keep = 4 * latestPerTry
	p[service] = append(p[service][max(0, len(p[service])-keep+1):], id)
	return true
}

func (s *Server) follow(ctx context.Context) error {
	f := &follower{s: s, dirty: make(map[change]struct{}), wake: make(chan struct{}, 1),
		unread: make(map[change]struct{}), statuses: make(map[string][]byte), decisions: published{}, starts: published{}, began: time.Now()}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return f.again(ctx, "changes of services", func() error { return s.cfg.Services.Changes(ctx, f.mark) })
	})
	group.Go(func() error {
		return f.again(ctx, "changes of policies", func() error {
			return s.cfg.Policies.Watch(ctx, func() { f.mark(topicPolicy, ""); f.mark(topicStatus, "") })
		})
	})
	group.Go(func() error { return f.loop(ctx) })
	return group.Wait()
}

// again runs watch until ctx ends, after a pause if it fails.
func (f *follower) again(ctx context.Context, what string, watch func() error) error {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		began := time.Now()
		err := watch()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > time.Minute {
			pause.Reset()
		}
		f.s.cfg.Logger.Warn("watch ended; it is begun again", "reason", what, "err", err)
		if err := sleep(ctx, pause.NextBackOff()); err != nil {
			return err
		}
		f.mark(topicStatus, "")
	}
}

// mark notes a change; it never waits.
func (f *follower) mark(topic, service string) {
	f.mu.Lock()
	f.dirty[change{topic, service}] = struct{}{}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *follower) take() map[change]struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.dirty
	f.dirty = make(map[change]struct{})
	return taken
}

func (f *follower) loop(ctx context.Context) error {
	repair := time.NewTicker(repairEvery)
	defer repair.Stop()
	f.mark(topicStatus, "")
	f.mark(topicPolicy, "")
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-repair.C:
			f.mark(topicStatus, "")
			for c := range f.unread {
				f.mark(c.topic, c.service)
			}
		case <-f.wake:
			f.publish(ctx, f.take())
			if err := sleep(ctx, gatherFor); err != nil {
				return err
			}
		}
	}
}

// publish reads and publishes; what cannot be read is left for the repair.
func (f *follower) publish(ctx context.Context, changes map[change]struct{}) {
	fleetRead := false
	for c := range changes {
		var err error
		switch c.topic {
		case topicStatus:
			if !fleetRead {
				fleetRead = true
				err = f.publishStatuses(ctx)
			}
		case topicPolicy:
			err = f.publishPolicies(ctx)
		case topicDecision:
			err = f.publishDecisions(ctx, c.service)
		case topicColdStart:
			err = f.publishColdStarts(ctx, c.service)
		case topicPoint:
			err = f.mentionPoint(ctx, c.service)
		}
		delete(f.unread, c)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			f.unread[c] = struct{}{}
			f.s.cfg.Logger.Warn("change not read", "reason", c.topic, "service", c.service, "err", err)
		}
	}
}

func (f *follower) publishStatuses(ctx context.Context) error {
	fleet, err := f.s.readFleet(ctx)
	if err != nil {
		return err
	}
	seen := make(map[string]bool, len(fleet))
	for _, svc := range fleet {
		info := infoOfService(svc)
		seen[svc.Name] = true
		data, err := json.Marshal(info)
		if err != nil {
			return fmt.Errorf("encode the status of %s: %w", svc.Name, err)
		}
		info.At = nil // a new report of the same is no news
		same, err := json.Marshal(info)
		if err != nil {
			return fmt.Errorf("encode the status of %s: %w", svc.Name, err)
		}
		if !bytes.Equal(f.statuses[svc.Name], same) {
			f.statuses[svc.Name] = same
			f.s.feed.publish(topicStatus, svc.Name, data)
		}
	}
	for name := range f.statuses {
		if !seen[name] {
			delete(f.statuses, name)
			f.emit(topicStatus, name, map[string]any{"name": name, "gone": true})
		}
	}
	return nil
}

func (f *follower) publishPolicies(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	list, err := f.s.listPolicies(ctx)
	if err != nil {
		return fmt.Errorf("read the policies: %w", err)
	}
	now := make(map[string]VersionInfo, len(list))
	for _, v := range list {
		now[v.Name] = infoOf(v)
		if before, known := f.policies[v.Name]; f.policies != nil && (!known || before.Version != v.Version) {
			f.emit(topicPolicy, v.Name, now[v.Name])
		}
	}
	for name, before := range f.policies {
		if _, there := now[name]; !there {
			f.emit(topicPolicy, name, f.deletion(ctx, name, before))
		}
	}
	f.policies = now
	return nil
}

// deletion says who deleted a policy, as far as its history can be read.
func (f *follower) deletion(ctx context.Context, name string, before VersionInfo) VersionInfo {
	list, err := f.s.cfg.Policies.Versions(ctx, name)
	i := slices.IndexFunc(list, func(v policies.Version) bool { return v.Deleted })
	if err != nil || i < 0 {
		return VersionInfo{Name: name, Version: before.Version + 1, At: time.Now().UTC(), Deleted: true}
	}
	return infoOf(list[i])
}

func (f *follower) publishDecisions(ctx context.Context, service string) error {
	list, err := f.s.decisions(ctx, service, latestPerTry)
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(list) { // oldest first
		id := fmt.Sprint(d.At.UnixNano(), " ", d.From, " ", d.To, " ", d.Rule, " ", d.Reason)
		if d.At.After(f.began) && f.decisions.news(d.Service, id) {
			f.emit(topicDecision, d.Service, d)
		}
	}
	return nil
}

func (f *follower) publishColdStarts(ctx context.Context, service string) error {
	list, err := f.s.coldStarts(ctx, service, latestPerTry)
	if err != nil {
		return err
	}
	for _, c := range slices.Backward(list) {
		end := c.StartedAt.Add(time.Duration(c.DurMS * float64(time.Millisecond)))
		if end.After(f.began) && f.starts.news(c.Service, c.ID) {
			f.emit(topicColdStart, c.Service, c)
		}
	}
	return nil
}

func (f *follower) mentionPoint(ctx context.Context, service string) error {
	if !f.s.feed.wanted(topicPoint, service) {
		return nil
	}
	list, err := f.s.timeline(ctx, service, 1)
	if err != nil || len(list) == 0 {
		return err
	}
	data, err := json.Marshal(struct {
		Service string `json:"service"`
		Point   any    `json:"point"`
	}{service, list[len(list)-1]})
	if err != nil {
		return fmt.Errorf("encode a point of %s: %w", service, err)
	}
	f.s.feed.mention(topicPoint, service, data)
	return nil
}

func (f *follower) emit(topic, service string, of any) {
	data, err := json.Marshal(of)
	if err != nil {
		f.s.cfg.Logger.Error("event not encoded", "reason", topic, "service", service, "err", err)
		return
	}
	f.s.feed.publish(topic, service, data)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
