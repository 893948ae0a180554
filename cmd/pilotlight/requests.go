package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/web"
)

type requestsCommand struct {
	List   requestsListCommand   `cmd:"" help:"List the requests that wait, and the durable ones that run."`
	Show   requestsShowCommand   `cmd:"" help:"Show where one request stands."`
	Cancel requestsCancelCommand `cmd:"" help:"End a durable request; at its replica too."`
}

// Help is an example.
func (requestsCommand) Help() string {
	return "Example:\n  pilotlight requests list --service translate"
}

type requestsListCommand struct {
	Service string `help:"Only of this service." placeholder:"NAME"`
	State   string `enum:",held,running" default:"" help:"Only held, or only running." placeholder:"STATE"`
	Limit   int    `default:"100" help:"At most so many, 1 to 1000." placeholder:"N"`
	controlFlags
	outputFlags
}

// Help is an example.
func (requestsListCommand) Help() string {
	return "Bodies, keys and tokens are never shown.\n\nExample:\n  pilotlight requests list --service translate --state held"
}

// Validate says what is wrong with the flags.
func (l requestsListCommand) Validate() error {
	if l.Limit < 1 || l.Limit > 1000 {
		return fmt.Errorf("--limit %d: allowed: 1 to 1000", l.Limit)
	}
	return nil
}

// Run prints a table, or what the control plane answers.
func (l requestsListCommand) Run(ctx context.Context, std streams) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	query := url.Values{"limit": {strconv.Itoa(l.Limit)}}
	if l.Service != "" {
		if err := checkName(l.Service); err != nil {
			return err
		}
		query.Set("service", l.Service)
	}
	if l.State != "" {
		query.Set("state", l.State)
	}
	r, err := c.do(ctx, call{method: http.MethodGet, path: []string{"requests"}, query: query})
	if err != nil {
		return err
	}
	var list []web.RequestInfo
	if err := json.Unmarshal(r.body, &list); err != nil {
		return fmt.Errorf("the control plane does not answer as one of Pilotlight does: %w", err)
	}
	if len(list) == 0 && l.Service != "" { // a name that is mistyped has no requests either
		if _, err := c.do(ctx, call{method: http.MethodGet, path: []string{"services", l.Service}}); err != nil {
			return err
		}
	}
	if l.json() {
		return writeIndented(std.out, r.body)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(std.err, "No request waits, and no durable one runs.")
		return err
	}
	t := newTable(std.out, "ID", "SERVICE", "STATE", "PHASE", "POSITION", "ETA", "AGE", "DEADLINE", "KIND", "ATTEMPTS", "REPLICA", "REQUEST ID")
	for _, r := range list {
		t.row(r.ID, r.Service, r.State, r.Phase, orNone(r.Position), etaOf(r), age(r), deadlineOf(r), kindOf(r), r.Attempts, r.Replica, r.RequestID)
	}
	return t.flush()
}

// requestFlags of commands about one request.
type requestFlags struct {
	ID string `arg:"" help:"Of the request, as in its Location or in requests list."`
	controlFlags
	outputFlags
}

// Validate says what is wrong with the id.
func (f requestFlags) Validate() error {
	if f.ID == "" || strings.ContainsAny(f.ID, "/ ") {
		return fmt.Errorf("%q is no id of a request; requests list shows them", f.ID)
	}
	return nil
}

func (f requestFlags) do(ctx context.Context, std streams, method string) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	answer, err := c.do(ctx, call{method: method, path: []string{"requests", f.ID}})
	if err != nil {
		return err
	}
	if f.json() {
		return writeIndented(std.out, answer.body)
	}
	var r web.RequestInfo
	if err := json.Unmarshal(answer.body, &r); err != nil {
		return fmt.Errorf("the control plane does not answer as one of Pilotlight does: %w", err)
	}
	t := newTable(std.out, "request", r.ID)
	t.row("service", r.Service)
	t.row("request id", r.RequestID)
	t.row("state", r.State)
	t.row("reason", r.Reason)
	t.row("status", orNone(r.Status))
	t.row("phase", r.Phase)
	t.row("position", orNone(r.Position))
	t.row("eta", etaOf(r))
	t.row("age", age(r))
	t.row("deadline", deadlineOf(r))
	t.row("kind", kindOf(r))
	t.row("attempts", r.Attempts)
	t.row("replica", r.Replica)
	return t.flush()
}

func orNone(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func etaOf(r web.RequestInfo) string {
	if r.ETA == nil {
		return ""
	}
	return aboutSeconds(*r.ETA)
}

func age(r web.RequestInfo) string {
	return time.Duration(r.AgeS * float64(time.Second)).Round(time.Second).String()
}

func deadlineOf(r web.RequestInfo) string {
	if r.Deadline == nil {
		return ""
	}
	return utc(*r.Deadline)
}

// kindOf a request, in the words of the UI: what becomes of it when its client
// leaves, and whether it can be cancelled.
func kindOf(r web.RequestInfo) string {
	switch {
	case r.Async:
		return "async"
	case r.Durable:
		return "keyed"
	}
	return "connection"
}

type requestsShowCommand struct{ requestFlags }

// Help is an example.
func (requestsShowCommand) Help() string {
	return "Example:\n  pilotlight requests show translate.UMZ5NRXU3HIGHS6GYJFGEZSCTQ-tmwlo3"
}

// Run shows.
func (s requestsShowCommand) Run(ctx context.Context, std streams) error {
	return s.do(ctx, std, http.MethodGet)
}

type requestsCancelCommand struct{ requestFlags }

// Help is an example.
func (requestsCancelCommand) Help() string {
	return "Only durable requests, with a key or asynchronous; others end with their connection.\n\nExample:\n  pilotlight requests cancel translate.UMZ5NRXU3HIGHS6GYJFGEZSCTQ-tmwlo3"
}

// Run cancels.
func (c requestsCancelCommand) Run(ctx context.Context, std streams) error {
	return c.do(ctx, std, http.MethodDelete)
}
