package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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
	State   string `help:"Only held, or only running." placeholder:"STATE"`
	Limit   int    `default:"100" help:"At most so many, 1 to 1000." placeholder:"N"`
	controlFlags
	outputFlags
}

// Help is an example.
func (requestsListCommand) Help() string {
	return "Bodies, keys and tokens are never shown.\n\nExample:\n  pilotlight requests list --service translate --state held"
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
	if l.json() {
		return writeIndented(std.out, r.body)
	}
	var list []web.RequestInfo
	if err := json.Unmarshal(r.body, &list); err != nil {
		return fmt.Errorf("the control plane does not answer as one of Pilotlight does: %w", err)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(std.err, "No request waits, and no durable one runs.")
		return err
	}
	t := newTable(std.out, "ID", "SERVICE", "STATE", "PHASE", "POSITION", "ETA", "AGE", "DEADLINE", "ATTEMPTS", "REPLICA")
	for _, r := range list {
		t.row(r.ID, r.Service, r.State, r.Phase, orNone(r.Position), etaOf(r), age(r), deadlineOf(r), r.Attempts, r.Replica)
	}
	return t.flush()
}

// requestFlags of commands about one request.
type requestFlags struct {
	ID string `arg:"" help:"Of the request, as in its Location or in requests list."`
	controlFlags
	outputFlags
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
