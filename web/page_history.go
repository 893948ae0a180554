package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// listFilter chooses a service and how much is shown.
type listFilter struct {
	Service  string
	Services []string
	Sort     string
	Limit    int
	More     string // URL that shows more, "" if this is all
}

// sortedOver is among how many of the newest cold starts the slowest are looked
// for.
const sortedOver = 1000

type coldStartsBody struct {
	Filter     listFilter
	Waterfalls []waterfall
	Stats      []phaseStats
	Read       int    // how many Stats are over
	Over       string // … in words
	NewestURL  string
	SlowestURL string
}

func (s *Server) coldStartsPage(c echo.Context) error {
	filter, list, err := s.filtered(c)
	if err != nil {
		return err
	}
	filter.Services, filter.Sort = list, "newest"
	read := filter.Limit
	if c.QueryParam("sort") == "slowest" {
		filter.Sort, read = "slowest", sortedOver
	}
	starts, err := s.coldStarts(c.Request().Context(), filter.Service, read)
	if err != nil {
		return err
	}
	body := coldStartsBody{Stats: statsOf(starts), Read: len(starts), Over: fmt.Sprintf("the %d shown", len(starts)),
		NewestURL: filter.url("/cold-starts", "", filter.Limit), SlowestURL: filter.url("/cold-starts", "slowest", filter.Limit)}
	shown := starts[:min(len(starts), filter.Limit)]
	if filter.Sort == "slowest" {
		slowest := slices.SortedStableFunc(slices.Values(starts), func(a, b jobs.ColdStart) int { return cmp.Compare(b.DurMS, a.DurMS) })
		shown = slowest[:len(shown)]
		body.Over = fmt.Sprintf("all %d that are kept", len(starts))
		if len(starts) == sortedOver {
			body.Over = fmt.Sprintf("the newest %d", sortedOver)
		}
	}
	filter.more("/cold-starts", len(shown), len(starts))
	body.Filter, body.Waterfalls = filter, drawWaterfalls(shown)
	return s.renderPage(c, http.StatusOK, "cold_starts", page{Title: "Cold starts", Nav: "/cold-starts", Body: body,
		Stream: filter.stream(topicColdStart)})
}

type decisionsBody struct {
	Filter listFilter
	Rows   []decisionRow
}

func (s *Server) decisionsPage(c echo.Context) error {
	filter, services, err := s.filtered(c)
	if err != nil {
		return err
	}
	list, err := s.decisions(c.Request().Context(), filter.Service, filter.Limit)
	if err != nil {
		return err
	}
	filter.Services = services
	filter.more("/decisions", len(list), len(list))
	body := decisionsBody{Filter: filter}
	for _, d := range list {
		body.Rows = append(body.Rows, rowOfDecision(d))
	}
	return s.renderPage(c, http.StatusOK, "decisions", page{Title: "Decisions", Nav: "/decisions", Body: body, Stream: filter.stream(topicDecision)})
}

// filtered reads ?service= and ?limit=, and which services there are to choose.
func (s *Server) filtered(c echo.Context) (listFilter, []string, error) {
	limit, err := limitOf(c, 50, 1000)
	if err != nil {
		return listFilter{}, nil, err
	}
	fleet, _, err := s.lastFleet(c.Request().Context())
	if err != nil {
		return listFilter{}, nil, err
	}
	names := make([]string, 0, len(fleet))
	for _, svc := range fleet {
		names = append(names, svc.Name)
	}
	return listFilter{Service: c.QueryParam("service"), Limit: limit}, names, nil
}

// more offers more than what is shown of a list of which so many were read, if
// there may be more.
func (f *listFilter) more(path string, shown, read int) {
	if shown == f.Limit && f.Limit < 1000 && (f.Sort != "slowest" || read > shown) {
		f.More = f.url(path, f.Sort, min(1000, 4*f.Limit))
	}
}

func (f *listFilter) url(path, sort string, limit int) string {
	q := url.Values{}
	if f.Service != "" {
		q.Set("service", f.Service)
	}
	if sort != "" && sort != "newest" {
		q.Set("sort", sort)
	}
	if limit != 50 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

func (f *listFilter) stream(topic string) string {
	return eventsPath + "?topics=" + topic + "," + topicPolicy + "&service=" + url.QueryEscape(f.Service)
}

// historyBody is the versions of one policy and two of them compared.
type historyBody struct {
	Name     string
	Versions []policies.Version
	From, To int
	Diff     []diffLine
	Changes  []policies.Change
	Current  int // version in force, 0 if it is deleted
}

func (s *Server) historyPage(c echo.Context) error {
	name := c.Param("name")
	list, err := s.versions(c.Request().Context(), name)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return policies.ErrNotFound
	}
	body := historyBody{Name: name, Versions: list, To: list[0].Version}
	if !list[0].Deleted {
		body.Current = list[0].Version
	}
	if n, err := strconv.Atoi(c.QueryParam("to")); err == nil {
		body.To = n
	}
	body.From = body.To - 1
	if n, err := strconv.Atoi(c.QueryParam("from")); err == nil {
		body.From = n
	}
	if to := versionIn(list, body.To); to != nil {
		from := versionIn(list, body.From) // none before the first
		if from == nil {
			from = &policies.Version{}
		}
		body.Diff = diffText(from.Text, to.Text)
		if to.Policy != nil && from.Policy != nil {
			body.Changes = policies.Diff(from.Policy, to.Policy)
		}
	}
	return s.renderPage(c, http.StatusOK, "history", page{Title: name + ": history", Nav: "/policies", Body: body,
		Stream: eventsPath + "?topics=" + topicPolicy + "&service=" + url.QueryEscape(name)})
}

func versionIn(list []policies.Version, version int) *policies.Version {
	i := slices.IndexFunc(list, func(v policies.Version) bool { return v.Version == version })
	if i < 0 {
		return nil
	}
	return &list[i]
}
