package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// requestsPath is the page of the requests that wait.
const requestsPath = "/queue"

// requestRow is a request in sight as it is shown.
type requestRow struct {
	RequestInfo
	Wait      Figure // until it is sent to a replica
	Place     Figure
	Left      string // until its deadline
	Kind      string
	KindAbout string
	CancelURL string // "" if only its client can end it
}

func (s *Server) requestRow(now time.Time, r RequestInfo, back string) requestRow {
	row := requestRow{RequestInfo: r, Kind: "connection", KindAbout: "its client waits; it ends when the client leaves"}
	switch {
	case r.Async:
		row.Kind, row.KindAbout = "async", "its client comes back for the answer"
	case r.Durable:
		row.Kind, row.KindAbout = "keyed", "it has an Idempotency-Key: whoever has the key gets the answer, also later"
	}
	if r.Durable {
		row.CancelURL = requestsPath + "/" + url.PathEscape(r.ID) + "/cancel?back=" + url.QueryEscape(back)
	}
	switch {
	case r.State != "held":
		row.Wait, row.Place = unknown("it is at a replica"), unknown("it does not wait any more")
	case r.ETA == nil:
		row.Wait = unknown("unknown: no past start or request says how long it takes, or nobody knows when a replica can be had")
	default:
		row.Wait = duration(time.Duration(*r.ETA * float64(time.Second)))
		row.Wait.Title = "estimated from past starts and the requests before it"
	}
	if r.Position != nil {
		row.Place = Figure{Text: strconv.Itoa(*r.Position), Title: "of those that wait for " + r.Service}
	}
	if r.Deadline != nil {
		if left := r.Deadline.Sub(now); left > 0 {
			row.Left = "in " + span(left.Truncate(time.Second))
		} else {
			row.Left = "passed"
		}
	}
	return row
}

type requestsBody struct {
	Filter listFilter
	State  string
	States []rangeLink
	Rows   []requestRow
}

func (s *Server) requestsPage(c echo.Context) error {
	filter, services, err := s.filtered(c)
	if err != nil {
		return err
	}
	filter.Services = services
	state, err := requestState(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	list, err := s.requestsInSight(ctx, filter.Service, state, filter.Limit)
	if err != nil {
		return err
	}
	body := requestsBody{Filter: filter, State: state}
	link := func(state string, limit int) string {
		q := url.Values{}
		for name, v := range map[string]string{"service": filter.Service, "state": state} {
			if v != "" {
				q.Set(name, v)
			}
		}
		if limit > 0 {
			q.Set("limit", strconv.Itoa(limit))
		}
		return strings.TrimSuffix(requestsPath+"?"+q.Encode(), "?")
	}
	for _, of := range []struct{ state, label string }{{"", "all"}, {"held", "held"}, {"running", "running"}} {
		body.States = append(body.States, rangeLink{Label: of.label, URL: link(of.state, 0), Current: of.state == state})
	}
	if len(list) == filter.Limit && filter.Limit < 1000 {
		body.Filter.More = link(state, min(1000, 4*filter.Limit))
	}
	now := time.Now()
	for _, r := range list {
		body.Rows = append(body.Rows, s.requestRow(now, r, c.Request().URL.RequestURI()))
	}
	return s.renderPage(c, http.StatusOK, "requests", page{Title: "Requests", Nav: requestsPath, Body: body, Stream: filter.stream(topicStatus)})
}

// onServicePage are the first requests of a service, for its own page.
const onServicePage = 10

// requestsOf a service for its page; none if they cannot be read: the page says how
// old it is.
func (s *Server) requestsOf(ctx context.Context, svc service) []requestRow {
	if s.cfg.Requests == nil || !inDemand(svc.Status.Demand) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	list, err := s.cfg.Requests.Held(ctx, svc.Name, onServicePage)
	if err != nil {
		return nil
	}
	now := time.Now()
	var rows []requestRow
	for _, r := range list {
		rows = append(rows, s.requestRow(now, r, "/services/"+svc.Name))
	}
	return rows
}

// cancelRequestBody asks before a request is ended.
type cancelRequestBody struct {
	RequestInfo
	Consequence string
	Back, By    string
	Final       bool
}

func (s *Server) cancelRequestPage(c echo.Context) error {
	r, err := s.findRequest(c, s.findInSight)
	if err != nil {
		return err
	}
	if !r.Durable {
		return ErrOfConnection
	}
	body := cancelRequestBody{RequestInfo: r, Back: localPath(c.QueryParam("back"), requestsPath), By: rememberedName(c)}
	switch r.State {
	case "held":
		body.Consequence = "It leaves the queue and is never sent to a replica."
		if r.Position != nil {
			body.Consequence = fmt.Sprintf("It leaves the queue at place %d and is never sent to a replica.", *r.Position)
		}
	case "running":
		body.Consequence = fmt.Sprintf("Replica %s computes on it, attempt %d: it is stopped there, and what it has made is lost.", r.Replica, r.Attempts)
	default:
		body.Final, body.Consequence = true, "It is "+r.State+" already: nothing is left to be ended."
	}
	if !body.Final {
		body.Consequence += " Who waits for it is told that it was cancelled."
	}
	return s.renderPage(c, http.StatusOK, "cancel", page{Title: "Cancel a request", Nav: requestsPath, Body: body})
}

func (s *Server) cancelRequestForm(c echo.Context) error {
	if err := c.Request().ParseForm(); err != nil {
		return bodyError(err)
	}
	form := c.Request().PostForm
	by := form.Get("by")
	if _, err := s.findRequest(c, s.cancelInSight(c, by, form.Get("reason"))); err != nil {
		return err
	}
	rememberName(c, by)
	return c.Redirect(http.StatusSeeOther, localPath(form.Get("back"), requestsPath))
}

// findInSight and cancelInSight are of cfg.Requests, which may be missing.
func (s *Server) findInSight(ctx context.Context, id string) (RequestInfo, error) {
	if s.cfg.Requests == nil {
		return RequestInfo{}, ErrUnknownRequest
	}
	return s.cfg.Requests.Find(ctx, id)
}

func (s *Server) cancelInSight(c echo.Context, by, reason string) func(ctx context.Context, id string) (RequestInfo, error) {
	return func(ctx context.Context, id string) (RequestInfo, error) {
		if s.cfg.Requests == nil {
			return RequestInfo{}, ErrUnknownRequest
		}
		r, err := s.cfg.Requests.Cancel(ctx, id)
		if err == nil {
			s.cfg.Logger.Info("request cancelled", "service", r.Service, "ticket", r.ID, "request_id", r.RequestID,
				"by", author(c, by), "reason", cutText(reason, 500), "state", r.State)
		}
		return r, err
	}
}

// findRequest does something with the request that the path names.
func (s *Server) findRequest(c echo.Context, do func(context.Context, string) (RequestInfo, error)) (RequestInfo, error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	id := c.Param("id")
	if strings.ContainsAny(id, "{} /") || len(id) > 200 {
		return RequestInfo{}, ErrUnknownRequest
	}
	r, err := do(ctx, id)
	if err != nil && !errors.Is(err, ErrUnknownRequest) && !errors.Is(err, ErrOfConnection) {
		err = fromStore(fmt.Errorf("request %s: %w", id, err))
	}
	return r, err
}
