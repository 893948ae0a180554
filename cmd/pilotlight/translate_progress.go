package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// watch shows what the services do until ctx ends. It never fails: what cannot
// be learned is not shown.
func (c *translator) watch(ctx context.Context) {
	wait := time.NewTimer(sayAfter)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if services, err := c.health(ctx); err == nil && ctx.Err() == nil {
			c.status.show(progressOf(services))
		}
		wait.Reset(askEvery)
	}
}

// serviceHealth is one service in GET /health.
type serviceHealth struct {
	State  string   `json:"state"`
	Held   int      `json:"held"`
	ETA    *float64 `json:"eta_s"` // of a request that comes now
	Reason *string  `json:"reason"`
}

func (c *translator) health(ctx context.Context) (map[string]serviceHealth, error) {
	ctx, cancel := context.WithTimeout(ctx, askEvery)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath("health").String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Services map[string]serviceHealth `json:"services"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer)
	return answer.Services, err
}

// progressOf says what the services that somebody waits for do: "" if none. The
// caller does not know which of them its request is routed to, so that several
// are named.
func progressOf(services map[string]serviceHealth) string {
	waited := maps.Clone(services)
	maps.DeleteFunc(waited, func(_ string, s serviceHealth) bool { return s.Held == 0 })
	if len(waited) == 0 { // a count comes later than the state that it causes
		waited = maps.Clone(services)
		maps.DeleteFunc(waited, func(_ string, s serviceHealth) bool {
			return s.State != jobs.StateWaking && s.State != jobs.StateBlocked
		})
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(waited)) {
		words := waited[name].words()
		if len(waited) > 1 {
			words = oneLine(name) + ": " + words
		}
		parts = append(parts, words)
	}
	return strings.Join(parts, "; ")
}

func (s serviceHealth) words() string {
	words := "starting"
	switch {
	case s.State == jobs.StateBlocked && s.Reason != nil:
		return "cannot start yet: " + oneLine(*s.Reason)
	case s.State == jobs.StateBlocked:
		return "cannot start yet"
	case s.State == jobs.StatePaused && s.Reason != nil: // by whom: an operator here, or somebody in Nomad
		return "does not start: " + oneLine(*s.Reason)
	case s.State == jobs.StatePaused, s.State == jobs.StateReady: // what is ready serves on
		words = fmt.Sprintf("waiting for a free slot, %d held", s.Held)
	}
	if s.ETA == nil {
		return words
	}
	return words + ", " + aboutSeconds(*s.ETA)
}

// aboutSeconds is an estimate in words, as coarse as estimates are: that also
// keeps the line from changing every second.
func aboutSeconds(s float64) string {
	switch {
	case s < 2:
		return "any moment now"
	case s < 20:
		return fmt.Sprintf("about %.0f s", math.Ceil(s/5)*5)
	case s < 100:
		return fmt.Sprintf("about %.0f s", math.Round(s/10)*10)
	}
	return fmt.Sprintf("about %.0f min", math.Ceil(s/60))
}
