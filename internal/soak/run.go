package soak

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// BrokenError is a soak that found violations; its text tells each with the story
// of its request.
type BrokenError struct {
	Violations []Violation
	stories    string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("%d violations\n%s", len(e.Violations), e.stories)
}

// Run soaks for Config.For, waits until everything is settled, and judges. Errors:
// ErrNoServer, *BrokenError, or what kept the processes from working. Whatever it
// has started has ended when it returns.
func Run(ctx context.Context, cfg Config) error {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	h, err := newHouse(cfg)
	if err != nil {
		return err
	}
	defer h.kill()
	if err := h.start(ctx); err != nil {
		return err
	}
	begun := time.Now()
	cfg.Log("seed %d: %s of load by %d clients, then everything is settled and counted", cfg.Seed, cfg.For, cfg.Clients)
	s := &saboteur{house: h, busy: map[string]bool{}, late: map[int]int{}, log: func(format string, args ...any) {
		cfg.Log("%6.1fs %s", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}}
	harmed := make(chan error, 1)
	go func() { harmed <- s.run(ctx, begun, plan(cfg.Seed, cfg.For, cfg.Pause)) }()
	l := &load{house: h, begun: begun, until: begun.Add(cfg.For), settle: begun.Add(cfg.For + cfg.Settle)}
	l.run(ctx, cfg.Clients, cfg.Seed)
	if err := errors.Join(<-harmed, context.Cause(ctx)); err != nil {
		return err
	}
	cfg.Log("%6.1fs all requests are settled; every answer is read once more", time.Since(begun).Seconds())
	l.readAgain(ctx)
	e, err := gather(ctx, h, s, l)
	if err != nil {
		return err
	}
	cfg.Log("%6.1fs judging", time.Since(begun).Seconds())
	verdict := Audit(e)
	for _, line := range figures(e, verdict) {
		cfg.Log("%s", line)
	}
	broken := brokenBy(ctx, h, e, verdict)
	return errors.Join(broken, h.stop())
}

// gather the evidence, once nothing moves any more.
func gather(ctx context.Context, h *house, s *saboteur, l *load) (Evidence, error) {
	for _, m := range h.activators {
		s.count(ctx, m)
	}
	left, err := h.awaitEmpty(ctx)
	if err != nil {
		return Evidence{}, fmt.Errorf("read what is left in Redis: %w", err)
	}
	executions, err := readExecutions(h.executions)
	if err != nil {
		return Evidence{}, err
	}
	e := Evidence{Services: Services, Requests: l.requests, Executions: executions, Faults: s.faults, Leftovers: left}
	for i := range activators {
		e.Late = append(e.Late, s.late[i])
	}
	return e, nil
}

// tell so many violations of each rule with their stories, the others in a line.
const tell = 3

func brokenBy(ctx context.Context, h *house, e Evidence, v Verdict) error {
	if len(v.Violations) == 0 {
		return nil
	}
	byID := map[string]*Request{}
	for _, r := range e.Requests {
		byID[r.ID] = r
	}
	var b strings.Builder
	told := map[string]int{}
	for _, x := range v.Violations {
		fmt.Fprintf(&b, "%s\n", x)
		told[x.Rule]++
		if r := byID[x.Request]; r != nil && told[x.Rule] <= tell {
			b.WriteString(story(e, x.Request, h.ticket(ctx, r)))
		}
	}
	return &BrokenError{v.Violations, b.String()}
}
