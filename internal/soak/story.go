package soak

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// story of a request: what its clients saw, where it ran, and which faults it met.
func story(e Evidence, id, ticket string) string {
	var b strings.Builder
	i := slices.IndexFunc(e.Requests, func(r *Request) bool { return r.ID == id })
	if i < 0 {
		return "nobody sent it\n"
	}
	r := e.Requests[i]
	until := r.Settled
	fmt.Fprintf(&b, "  %s of %s, keyed=%t async=%t, sent %s, accepted %s, settled %s, ticket %q, state %q %s\n",
		r.ID, r.Service, r.Keyed, r.Async, clock(r.Sent), clock(r.Accepted), clock(r.Settled), r.Ticket, r.State, r.Reason)
	alike := 0
	for i, c := range r.Calls {
		if i > 0 && i < len(r.Calls)-1 && r.Calls[i-1].outcome() == c.outcome() && r.Calls[i+1].outcome() == c.outcome() {
			alike++
			continue
		}
		if alike > 0 {
			fmt.Fprintf(&b, "  … and %d more of these\n", alike)
			alike = 0
		}
		fmt.Fprintf(&b, "  %s–%s activator %d: %s, sum %08x\n", clock(c.At), clock(c.Until), c.Activator, c.outcome(), c.Sum)
	}
	for _, x := range e.Executions {
		if x.RequestID == id {
			fmt.Fprintf(&b, "  execution %s from %s to %s cancelled=%t\n", x.Name, clock(x.From), clock(x.To), x.Cancelled)
		}
	}
	for _, f := range e.Faults {
		if f.From.Before(until.Add(time.Second)) && f.To.After(r.Sent.Add(-15*time.Second)) {
			fmt.Fprintf(&b, "  fault: %s\n", f)
		}
	}
	if ticket != "" {
		fmt.Fprintf(&b, "  in Redis: %s\n", ticket)
	}
	return b.String()
}

// outcome of a call in words.
func (c Call) outcome() string {
	switch {
	case c.HungUp:
		return c.What + ": the client hung up"
	case c.Refused:
		return c.What + ": connection refused"
	case c.Err != "":
		return c.What + ": " + c.Err
	}
	return strings.TrimSpace(fmt.Sprintf("%s: %d %s %s %s %s", c.What, c.Status, c.Problem, c.Detail, c.Execution, c.Wrong))
}

// figures of a soak, in lines.
func figures(e Evidence, v Verdict) []string {
	kinds, problems, faults := map[string]int{}, map[string]int{}, map[string]int{}
	calls, lost, cancelled, again := 0, 0, 0, 0
	for _, r := range e.Requests {
		kind := "plain"
		switch {
		case r.Async:
			kind = "async"
		case r.Keyed:
			kind = "keyed"
		}
		kinds[kind]++
		if r.Async && r.State != "" {
			kinds["async "+r.State]++
		}
		for _, c := range r.Calls {
			calls++
			switch {
			case c.HungUp:
				problems["hung up"]++
			case c.Refused:
				problems["connection refused"]++
			case c.Err != "":
				problems["connection broke"]++
			case c.Problem != "":
				problems[c.Problem]++
			}
		}
	}
	ran := map[string]int{}
	for _, x := range e.Executions {
		ran[x.RequestID]++
		if ran[x.RequestID] == 2 {
			again++
		}
		switch {
		case x.To.IsZero():
			lost++
		case x.Cancelled:
			cancelled++
		}
	}
	for _, f := range e.Faults {
		faults[f.Kind]++
	}
	rules := map[string]int{}
	for _, x := range v.Violations {
		rules[x.Rule]++
	}
	late := 0
	for _, n := range e.Late {
		late += n
	}
	return []string{
		fmt.Sprintf("requests: %d (%s), %d calls", len(e.Requests), counts(kinds), calls),
		"calls without an answer: " + counts(problems),
		fmt.Sprintf("executions: %d of %d requests, %d requests more than once, %d cancelled, %d lost with their replica", len(e.Executions), len(ran), again, cancelled, lost),
		fmt.Sprintf("faults: %d (%s); late requests counted by activators: %d", len(e.Faults), counts(faults), late),
		"exceptions: " + counts(v.Exceptions),
		fmt.Sprintf("violations: %d (%s)", len(v.Violations), counts(rules)),
	}
}

func counts(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for k, n := range m {
		parts = append(parts, fmt.Sprintf("%d %s", n, k))
	}
	slices.SortFunc(parts, func(x, y string) int { return strings.Compare(x[strings.Index(x, " "):], y[strings.Index(y, " "):]) })
	return strings.Join(parts, ", ")
}
