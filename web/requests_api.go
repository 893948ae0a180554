package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
)

// Requests is what operators see of the hold, and how they end a request of it.
// It is of all activators, so that a web process needs nothing but Redis.
type Requests interface {
	// Held lists what waits for a service, in its order, then the durable requests
	// that run; at most so many.
	Held(ctx context.Context, service string, limit int) ([]RequestInfo, error)
	// Find one, also a durable one that is final. Else ErrUnknownRequest.
	Find(ctx context.Context, id string) (RequestInfo, error)
	// Cancel a durable one, whatever it is doing; one that is final stays as it is.
	// Else ErrUnknownRequest, or ErrOfConnection.
	Cancel(ctx context.Context, id string) (RequestInfo, error)
}

// Errors of Requests.
var (
	ErrUnknownRequest = errors.New("there is no such request, or it is not kept any more")
	ErrOfConnection   = errors.New("the request goes with its connection: it ends when its client leaves, or at its deadline")
)

// RequestInfo is one request in sight: never its body, its key or its header.
type RequestInfo struct {
	ID        string     `json:"id"`
	Service   string     `json:"service"`
	RequestID string     `json:"request_id"`
	State     string     `json:"state"`
	Phase     string     `json:"phase"`
	Position  *int       `json:"position"`
	ETA       *float64   `json:"eta_s"` // until it is sent to a replica; nil: unknown
	Priority  int        `json:"priority"`
	Attempts  int        `json:"attempts"`
	Replica   string     `json:"replica"`
	Status    *int       `json:"status"`
	Reason    string     `json:"reason"`
	At        time.Time  `json:"at"`
	AgeS      float64    `json:"age_s"`
	Deadline  *time.Time `json:"deadline"`
	Async     bool       `json:"async"`
	Durable   bool       `json:"durable"`
}

// requestStates are those that a RequestInfo may have.
var requestStates = []string{"held", "running", "succeeded", "failed", "cancelled"}

func (s *Server) requestRoutes() []route {
	if s.cfg.Requests == nil {
		return nil
	}
	id := parameter{in: "path", name: "id", kind: "string", required: true, about: "of the request"}
	of := answer{status: 409, about: "it goes with its connection and cannot be cancelled from here"}
	return []route{
		{method: "GET", path: apiBase + "/requests", handler: s.getRequests, api: &operation{
			summary: "Requests that wait, in the order in which they are released, then durable ones that run. What runs for a connection is counted in its service's demand, and not listed",
			params: []parameter{serviceFilter, {in: "query", name: "state", kind: "string", about: "only held, or only running"},
				limitParam},
			answers: answers(okJSON([]RequestInfo{}, "the requests, without bodies"), no400, no503)}},
		{method: "GET", path: apiBase + "/requests/:id", handler: s.getRequest, api: &operation{
			summary: "One request, also one that is final", params: []parameter{id},
			answers: answers(okJSON(RequestInfo{}, "the request, without its body"), no404, no503)}},
		{method: "DELETE", path: apiBase + "/requests/:id", handler: s.deleteRequest, api: &operation{
			summary: "Cancel a durable request; one that runs is stopped at its replica", params: []parameter{id, fromHeader},
			answers: answers(okJSON(RequestInfo{}, "what became of it"), no404, of, no503)}},
	}
}

func (s *Server) getRequests(c echo.Context) error {
	limit, err := limitOf(c, 100, 1000)
	if err != nil {
		return err
	}
	state, err := requestState(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	list, err := s.requestsInSight(ctx, c.QueryParam("service"), state, limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, orEmpty(list))
}

// requestState is the filter of a list: held, running, or "" for both.
func requestState(c echo.Context) (string, error) {
	state := c.QueryParam("state")
	if state != "" && state != "held" && state != "running" {
		return "", badRequest(fmt.Sprintf("state is %s; allowed: held, running", quoteName(state)))
	}
	return state, nil
}

// inDemand reports whether anybody asks for the service: another has no request in
// sight, and need not be asked for.
func inDemand(d jobs.DemandCounts) bool { return d.Held+d.InFlight+d.Async > 0 }

// requestsInSight of one service, or of all that are in demand, by their names.
func (s *Server) requestsInSight(ctx context.Context, service, state string, limit int) ([]RequestInfo, error) {
	if s.cfg.Requests == nil {
		return nil, nil
	}
	names := []string{service}
	if service == "" {
		statuses, err := s.cfg.Services.Statuses(ctx)
		if err != nil {
			return nil, fromStore(fmt.Errorf("read statuses: %w", err))
		}
		names = names[:0]
		for _, st := range statuses {
			if inDemand(st.Demand) {
				names = append(names, st.Name)
			}
		}
		slices.Sort(names)
	}
	read := limit
	if state == "running" {
		read = 1000 // they come after those that wait
	}
	var out []RequestInfo
	for _, name := range names {
		list, err := s.cfg.Requests.Held(ctx, name, read)
		if err != nil {
			return nil, fromStore(fmt.Errorf("read the requests of %s: %w", name, err))
		}
		for _, r := range list {
			if state == "" || r.State == state {
				out = append(out, r)
			}
		}
		if len(out) >= limit {
			return out[:limit], nil
		}
	}
	return out, nil
}

func (s *Server) getRequest(c echo.Context) error {
	return s.oneRequest(c, s.cfg.Requests.Find)
}

func (s *Server) deleteRequest(c echo.Context) error {
	return s.oneRequest(c, s.cancelInSight(c, c.Request().Header.Get("From"), ""))
}

func (s *Server) oneRequest(c echo.Context, do func(context.Context, string) (RequestInfo, error)) error {
	r, err := s.findRequest(c, do)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, r)
}
