package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/pilotlight/pilotlight/scaler/decide"
)

// mostDecisions is how many stored decisions are looked through at most: as many
// as are kept.
const mostDecisions = 5000

// toldRules are those of decisions that are told although the count stays: a
// person or a fault caused them, here or in the fleet itself.
var toldRules = []string{"asleep", "blocked", "brake", "by-hand", "deployed", "down-gate", "drain-timeout", "operator", "other-victim",
	"paused", "pinned", "purged", "returned", "reversed", "stopped", "unknown-demand", "wake"}

// told reports whether a stored decision is shown. The scaler also stores one
// when it first sees a service, a policy or a command, whatever comes of it.
func told(d decide.Decision) bool {
	return d.From != d.To || slices.Contains(toldRules, d.Rule)
}

// decisions that changed something, or that a person or a fault caused, newest
// first; service "" is all of them.
func (s *Server) decisions(ctx context.Context, name string, limit int) ([]decide.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for ask := 2*limit + 20; ; ask *= 4 {
		ask = min(ask, mostDecisions)
		stored, err := s.cfg.Services.Decisions(ctx, name, ask)
		if err != nil {
			return nil, fromStore(fmt.Errorf("read decisions: %w", err))
		}
		all := len(stored) < ask || ask == mostDecisions
		list := slices.DeleteFunc(stored, func(d decide.Decision) bool { return !told(d) })
		if len(list) >= limit || all {
			return list[:min(len(list), limit)], nil
		}
	}
}
