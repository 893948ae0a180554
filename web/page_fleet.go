package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
)

// fleetBody is the fleet page.
type fleetBody struct {
	Rows    []fleetRow
	Total   int // services, before filters
	Filter  fleetFilter
	States  []stateLink
	Columns []column
	Heard   time.Time // the fleet, last, if that was long ago
	Curl    *curlLine
	DataURL string
}

type fleetFilter struct{ Query, State, Sort string }

// stateLink filters by a state and says how many are in it.
type stateLink struct {
	State, Label, URL string
	Count             int
	Current           bool
}

// column of a sortable table.
type column struct {
	Label, Title, URL string
	Sorted            string // "ascending", "descending", ""
	Number            bool
}

// fleetRow is a service with its figures as shown.
type fleetRow struct {
	service
	Ready, Held, InFlight, QPS, Errors, P95, GPU, LastCold Figure
	Oldest                                                 string
	Tags                                                   []string
	Why                                                    string // nothing can be launched
	Verbs                                                  []verbButton
}

// verbButton leads to the confirmation of a command.
type verbButton struct{ Verb, Label, URL string }

func (s *Server) fleetPage(c echo.Context) error {
	fleet, at, err := s.lastFleet(c.Request().Context())
	if err != nil {
		return err
	}
	filter := fleetFilter{Query: strings.TrimSpace(c.QueryParam("q")), State: c.QueryParam("state"), Sort: c.QueryParam("sort")}
	body := fleetBody{Total: len(fleet), Filter: filter, DataURL: s.cfg.DataURL, Curl: s.fleetCurl(fleet)}
	body.States, body.Heard = stateLinks(fleet, filter), oldestPicture(fleet)
	body.Columns = fleetColumns(filter)
	for _, svc := range fleet {
		if (filter.State == "" || svc.State == filter.State) && strings.Contains(svc.Name, filter.Query) {
			body.Rows = append(body.Rows, rowOf(svc))
		}
	}
	sortFleet(body.Rows, filter.Sort)
	return s.renderPage(c, http.StatusOK, "fleet", page{Title: "Fleet", Nav: "/", Body: body, AsOf: at,
		Stream: eventsPath + "?topics=" + topicStatus + "," + topicPolicy})
}

func rowOf(svc service) fleetRow {
	row := fleetRow{
		service:  svc,
		Ready:    svc.count(svc.Replicas.Ready),
		Held:     svc.count(svc.Demand.Held),
		InFlight: svc.count(svc.Demand.InFlight),
		QPS:      rate(svc.QPS, "no traffic was measured in the last 10 s"),
		Errors:   percentage(svc.Errors, "no request has ended in the last minute"),
		P95:      milliseconds(svc.Latency.P95, "too few requests in the last minute"),
		GPU:      figure(svc.GPU, 0, "%", svc.gpuWhy()),
		LastCold: seconds(svc.Cold.Last, "no cold start yet"),
		Tags:     svc.noticeTags(),
	}
	switch {
	case svc.State == jobs.StatePaused && svc.Replicas.Ready > 0 && svc.Paused != nil: // nothing else is tried
		row.Why = *svc.Paused
	case svc.Blocked != nil && (svc.State == jobs.StateBlocked || svc.State == jobs.StatePaused):
		row.Why = *svc.Blocked
	}
	if svc.Status.Oldest != nil && svc.Demand.Held > 0 {
		row.Oldest = span(time.Duration(*svc.Status.Oldest * float64(time.Second)))
	}
	for _, verb := range svc.offered() {
		row.Verbs = append(row.Verbs, svc.button(verb))
	}
	return row
}

// gpuWhy is why the utilization is not known, if it is not.
func (svc service) gpuWhy() string {
	switch {
	case svc.Status.GPUWhy != nil:
		return *svc.Status.GPUWhy
	case svc.Replicas.Ready == 0:
		return "no replica is ready"
	}
	return "no ready replica reports its GPU"
}

func (svc service) button(verb string) verbButton {
	return verbButton{Verb: verb, Label: verbs[verb].label, URL: "/services/" + svc.Name + "/" + verb}
}

func (f fleetFilter) url() string {
	q := url.Values{}
	for name, value := range map[string]string{"q": f.Query, "state": f.State, "sort": f.Sort} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

func stateLinks(fleet []service, filter fleetFilter) []stateLink {
	all := filter
	all.State = ""
	links := []stateLink{{Label: "all", URL: all.url(), Count: len(fleet), Current: filter.State == ""}}
	for _, state := range []string{jobs.StateBlocked, jobs.StateWaking, jobs.StateReady, jobs.StateDraining, jobs.StatePaused, jobs.StateZero} {
		count := 0
		for _, svc := range fleet {
			if svc.State == state {
				count++
			}
		}
		if count == 0 && filter.State != state {
			continue
		}
		one := filter
		one.State = state
		links = append(links, stateLink{State: state, Label: state, URL: one.url(), Count: count, Current: filter.State == state})
	}
	return links
}

// fleetSorts are the columns and how two rows compare by them, ascending.
var fleetSorts = []struct {
	key, label, title string
	number            bool
	compare           func(a, b fleetRow) int
}{
	{"name", "Service", "", false, func(a, b fleetRow) int { return cmp.Compare(a.Name, b.Name) }},
	{"state", "State", "", false, func(a, b fleetRow) int { return cmp.Compare(urgency(a.State), urgency(b.State)) }},
	{"ready", "Ready / wanted", "replicas that answer, of those wanted", true, func(a, b fleetRow) int { return cmp.Compare(a.Replicas.Ready, b.Replicas.Ready) }},
	{"held", "Held", "requests waiting for a slot, and for how long the oldest", true, func(a, b fleetRow) int { return cmp.Compare(a.Demand.Held, b.Demand.Held) }},
	{"inflight", "In flight", "requests at a replica", true, func(a, b fleetRow) int { return cmp.Compare(a.Demand.InFlight, b.Demand.InFlight) }},
	{"qps", "Req/s", "arrivals per second, mean over 10 s", true, func(a, b fleetRow) int { return comparePointers(a.Status.QPS, b.Status.QPS) }},
	{"p95", "p95", "time in the replica, last minute", true, func(a, b fleetRow) int { return comparePointers(a.Latency.P95, b.Latency.P95) }},
	{"gpu", "GPU", "utilization, mean over ready replicas", true, func(a, b fleetRow) int { return comparePointers(a.Status.GPU, b.Status.GPU) }},
	{"cold", "Last cold start", "first held request to first byte", true, func(a, b fleetRow) int { return comparePointers(a.Cold.Last, b.Cold.Last) }},
}

// comparePointers puts unknown below everything.
func comparePointers(a, b *float64) int {
	value := func(p *float64) float64 {
		if p == nil {
			return -1
		}
		return *p
	}
	return cmp.Compare(value(a), value(b))
}

// urgency orders states by how much they want an operator's eye.
func urgency(state string) int {
	return slices.Index([]string{jobs.StateBlocked, jobs.StateWaking, jobs.StateDraining, jobs.StatePaused, jobs.StateReady, jobs.StateZero}, state)
}

// fleetColumns: a click sorts, the next one turns it round; numbers fall first.
func fleetColumns(filter fleetFilter) []column {
	key, falling := sortKey(filter.Sort)
	var columns []column
	for _, sort := range fleetSorts {
		next := filter
		next.Sort = sort.key
		if sort.number {
			next.Sort = "-" + sort.key
		}
		col := column{Label: sort.label, Title: sort.title, Number: sort.number}
		if sort.key == key {
			col.Sorted = "ascending"
			next.Sort = "-" + sort.key
			if falling {
				col.Sorted = "descending"
				next.Sort = sort.key
			}
		}
		col.URL = next.url()
		columns = append(columns, col)
	}
	return columns
}

func sortKey(sort string) (key string, falling bool) {
	if sort == "" {
		return "name", false
	}
	return strings.CutPrefix(sort, "-")
}

func sortFleet(rows []fleetRow, sort string) {
	key, falling := sortKey(sort)
	for _, by := range fleetSorts {
		if by.key != key {
			continue
		}
		slices.SortStableFunc(rows, func(a, b fleetRow) int {
			if falling {
				return by.compare(b, a)
			}
			return by.compare(a, b)
		})
	}
}
