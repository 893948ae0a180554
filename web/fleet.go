package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// How old a report may be: the scaler reports on a service every second while
// anything is not zero, and every minute at rest.
const (
	staleAfter       = 15 * time.Second
	staleAtRestAfter = 3 * time.Minute
)

// service is a policy and the scaler's last report on it.
type service struct {
	jobs.Status
	Known  bool              // the scaler has reported on it
	Stale  bool              // … and should have again
	Policy *policies.Version // nil: its policy is deleted, replicas may remain
}

// maxReplicas is what an operator may pin at most.
func (svc service) maxReplicas() int {
	if svc.Policy == nil || svc.Policy.Policy == nil {
		return 0
	}
	return svc.Policy.Policy.Replicas.Max
}

// picture is the fleet as last read.
type picture struct {
	at    time.Time
	fleet []service
}

var serviceName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// readFleet reads all services, by name: those with a policy, and those that the
// scaler still reports on.
func (s *Server) readFleet(ctx context.Context) ([]service, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var (
		statuses []jobs.Status
		versions []policies.Version
	)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		statuses, err = s.cfg.Services.Statuses(ctx)
		return err
	})
	both.Go(func() (err error) {
		versions, err = s.listPolicies(ctx)
		return err
	})
	if err := both.Wait(); err != nil {
		return nil, fromStore(fmt.Errorf("read the fleet: %w", err))
	}
	now := time.Now()
	fleet := joinFleet(now, statuses, versions)
	s.picture.Store(&picture{at: now, fleet: fleet})
	return fleet, nil
}

// lastFleet is readFleet for pages: when the store is silent it answers the last
// picture with the time it was taken; at is zero for a fresh one.
func (s *Server) lastFleet(ctx context.Context) (fleet []service, at time.Time, err error) {
	fleet, err = s.readFleet(ctx)
	if err == nil {
		return fleet, time.Time{}, nil
	}
	if last := s.picture.Load(); last != nil && !errors.Is(ctx.Err(), context.Canceled) {
		s.cfg.Logger.Warn("fleet not read; the last picture is shown", "err", err)
		return last.fleet, last.at, nil
	}
	return nil, time.Time{}, err
}

func (s *Server) readService(ctx context.Context, name string) (service, error) {
	if !serviceName.MatchString(name) {
		return service{}, unknownService(name)
	}
	fleet, err := s.readFleet(ctx)
	if err != nil {
		return service{}, err
	}
	return findService(fleet, name)
}

func findService(fleet []service, name string) (service, error) {
	i, found := slices.BinarySearchFunc(fleet, name, func(svc service, name string) int { return cmp.Compare(svc.Name, name) })
	if !found {
		return service{}, unknownService(name)
	}
	return fleet[i], nil
}

func joinFleet(now time.Time, statuses []jobs.Status, versions []policies.Version) []service {
	byName := make(map[string]*service, len(versions))
	for i := range versions {
		v := &versions[i]
		byName[v.Name] = &service{Policy: v, Status: jobs.Status{Name: v.Name, State: jobs.StateZero, PolicyVersion: v.Version}}
	}
	for _, status := range statuses {
		svc := byName[status.Name]
		if svc == nil {
			svc = &service{}
			byName[status.Name] = svc
		}
		svc.Status, svc.Known = status, true
		svc.Stale = now.Sub(status.At) > patience(status)
	}
	fleet := make([]service, 0, len(byName))
	for _, svc := range byName {
		svc.Replicas.List, svc.Notices, svc.Coming = orEmpty(svc.Replicas.List), orEmpty(svc.Notices), orEmpty(svc.Coming)
		fleet = append(fleet, *svc)
	}
	slices.SortFunc(fleet, func(a, b service) int { return cmp.Compare(a.Name, b.Name) })
	return fleet
}

// patience is how long the next report on a service may take.
func patience(s jobs.Status) time.Duration {
	if s.Replicas.Wanted > 0 || len(s.Replicas.List) > 0 || s.Demand.Held > 0 || s.Demand.InFlight > 0 {
		return staleAfter
	}
	return staleAtRestAfter
}
