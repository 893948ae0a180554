package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// serviceBody is the page of one service.
type serviceBody struct {
	fleetRow
	Sentence     string
	Steps        []stripStep
	StripCaption string
	ReplicaRows  []replicaRow
	Decisions    []decisionRow
	Waterfalls   []waterfall
	Points       []jobs.Point // newest first, thinned, for the table
	Ranges       []rangeLink
	RangeSeconds int
	Curl         *curlLine
	Notices      []noticeRow
	Block        *block
	Requests     []requestRow // the first of those in sight
	LastReason   string       // of the last decision
	Shadow       *shadowBody
}

// rangeLink chooses how much of the timeline is shown.
type rangeLink struct {
	Label, URL string
	Current    bool
}

// replicaRow is a replica with its figures as shown.
type replicaRow struct {
	jobs.Replica
	GPU, Memory, MemoryTotal Figure
	GPUWhy                   string  // GPU and Memory are unknown although they should be known
	MemoryPercent            float64 // of the total, if both are known
	Busy                     int     // percent of its slots
}

// decisionRow is a decision with its inputs as lines.
type decisionRow struct {
	decide.Decision
	Inputs  []namedText
	Signals []namedText
}

type namedText struct{ Name, Text string }

// timelineRange is a choice of how much is shown.
type timelineRange struct {
	name, label string
	long        time.Duration
}

var timelineRanges = []timelineRange{{"5m", "5 min", 5 * time.Minute}, {"15m", "15 min", 15 * time.Minute}, {"1h", "1 h", time.Hour}}

func (s *Server) servicePage(c echo.Context) error {
	ctx, name := c.Request().Context(), c.Param("name")
	fleet, at, err := s.lastFleet(ctx)
	if err != nil {
		return err
	}
	svc, err := findService(fleet, name)
	if err != nil {
		return err
	}
	now := time.Now()
	body := serviceBody{fleetRow: rowOf(svc), Sentence: svc.Sentence(now), Curl: s.curl(svc)}
	body.Ranges, body.RangeSeconds = rangeLinks(name, c.QueryParam("range"))
	for _, r := range svc.Status.Replicas.List {
		body.ReplicaRows = append(body.ReplicaRows, rowOfReplica(r))
	}
	// What cannot be read leaves its table empty, and the page says how old it is.
	decisions, decisionsErr := s.decisions(ctx, name, 12)
	starts, startsErr := s.coldStarts(ctx, name, 20)
	points, pointsErr := s.timeline(ctx, name, body.RangeSeconds)
	for _, err := range []error{decisionsErr, startsErr, pointsErr} {
		if err != nil && at.IsZero() {
			return err
		}
	}
	body.Notices, body.Block = svc.noticeRows(now), svc.block(now, decisions)
	body.Verbs = svc.headVerbs(body.Notices)
	if svc.Status.Blocked == nil || *svc.Status.Blocked != svc.Reason { // else it is said already
		body.LastReason = svc.Reason
	}
	for _, d := range decisions {
		body.Decisions = append(body.Decisions, rowOfDecision(d))
	}
	body.Requests = s.requestsOf(ctx, svc)
	if body.Shadow, err = s.shadowPart(ctx, svc, now); err != nil && at.IsZero() {
		return err
	}
	body.Steps, body.StripCaption = strip(now, svc, starts)
	body.Waterfalls = drawWaterfalls(starts[:min(len(starts), 6)])
	body.Points = thin(points, 60)
	topics := strings.Join([]string{topicStatus, topicDecision, topicColdStart, topicPolicy, topicPoint}, ",")
	return s.renderPage(c, http.StatusOK, "service", page{Title: name, Nav: "/", Body: body, AsOf: at,
		Stream: eventsPath + "?topics=" + topics + "&service=" + url.QueryEscape(name)})
}

// headVerbs are the commands beside the name: those of the state, and Pin, which
// can always be set; not those that stand with a notice.
func (svc service) headVerbs(notices []noticeRow) []verbButton {
	if svc.Policy == nil {
		return nil
	}
	var buttons []verbButton
	for _, verb := range append(svc.offered(), jobs.VerbPin) {
		if !slices.ContainsFunc(notices, func(n noticeRow) bool { return n.Action != nil && n.Action.Verb == verb }) {
			buttons = append(buttons, svc.button(verb))
		}
	}
	return buttons
}

func rangeLinks(name, chosen string) (links []rangeLink, rangeSeconds int) {
	if !slices.ContainsFunc(timelineRanges, func(r timelineRange) bool { return r.name == chosen }) {
		chosen = timelineRanges[0].name
	}
	for _, r := range timelineRanges {
		links = append(links, rangeLink{Label: r.label, URL: "/services/" + name + "?range=" + r.name, Current: r.name == chosen})
		if r.name == chosen {
			rangeSeconds = int(r.long.Seconds())
		}
	}
	return links, rangeSeconds
}

func rowOfReplica(r jobs.Replica) replicaRow {
	missing := "measured while it is ready"
	switch {
	case r.GPUUnknownReason != "":
		missing = r.GPUUnknownReason
	case r.Phase == jobs.Ready:
		missing = "its source does not give it"
	}
	row := replicaRow{Replica: r,
		GPU:         figure(r.GPUUtilizationPercent, 0, "%", missing),
		Memory:      bytesText(r.GPUMemoryUsedBytes, missing),
		MemoryTotal: bytesText(r.GPUMemoryTotalBytes, missing)}
	if row.GPU.Unknown() {
		row.GPUWhy = r.GPUUnknownReason
	}
	if used, total := r.GPUMemoryUsedBytes, r.GPUMemoryTotalBytes; used != nil && total != nil && *total > 0 {
		row.MemoryPercent = min(100, max(0, 100**used / *total))
	}
	if r.Slots > 0 {
		row.Busy = min(100, 100*r.InFlight/r.Slots)
	}
	return row
}

// GPUPercent is the length of the bar.
func (r replicaRow) GPUPercent() float64 {
	if r.GPUUtilizationPercent == nil {
		return 0
	}
	return min(100, max(0, *r.GPUUtilizationPercent))
}

func rowOfDecision(d decide.Decision) decisionRow {
	row := decisionRow{Decision: d}
	for name, value := range d.Inputs {
		row.Inputs = append(row.Inputs, namedText{name, inputText(value)})
	}
	slices.SortFunc(row.Inputs, func(a, b namedText) int { return strings.Compare(a.Name, b.Name) })
	for _, window := range []struct {
		name   string
		signal decide.Signal
	}{{"up", d.Signals.Up}, {"down", d.Signals.Down}} {
		row.Signals = append(row.Signals, signalTexts(window.name, window.signal)...)
	}
	return row
}

func inputText(value any) string {
	switch v := value.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', 4, 64)
	case nil:
		return "–"
	}
	return cutText(fmt.Sprint(value), 200)
}

func signalTexts(window string, s decide.Signal) []namedText {
	var out []namedText
	for _, one := range []struct {
		name, unit string
		value      *float64
	}{
		{"mean latency", " s", s.LatencyMean}, {"p50 latency", " s", s.LatencyP50}, {"p95 latency", " s", s.LatencyP95}, {"p99 latency", " s", s.LatencyP99},
		{"GPU", " %", s.GPUUtilization}, {"demand per replica", "", s.Demand}, {"arrivals per replica", "/s", s.QPS},
	} {
		if one.value != nil {
			out = append(out, namedText{window + ": " + one.name, strconv.FormatFloat(*one.value, 'g', 4, 64) + one.unit})
		}
	}
	return out
}

// thin keeps at most most points, the newest first.
func thin(points []jobs.Point, most int) []jobs.Point {
	step := max(1, (len(points)+most-1)/most)
	var out []jobs.Point
	for i := len(points) - 1; i >= 0; i -= step {
		out = append(out, points[i])
	}
	return out
}

// operateBody asks before a command is carried out.
type operateBody struct {
	service
	Verb, Label string
	Consequence string
	MaxReplicas int
	Replicas    int
	Back        string
	By          string
	Reason      string
	Problem     *Problem
}

func (s *Server) operatePage(c echo.Context) error {
	svc, err := s.readService(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	body, err := operateBodyOf(c, svc)
	if err != nil {
		return err
	}
	return s.renderPage(c, http.StatusOK, "operate", page{Title: body.Label + " " + svc.Name, Nav: "/", Body: body})
}

func operateBodyOf(c echo.Context, svc service) (operateBody, error) {
	verb := c.Param("verb")
	words, known := verbs[verb]
	if !known {
		return operateBody{}, echo.ErrNotFound
	}
	return operateBody{service: svc, Verb: verb, Label: words.label, Consequence: svc.consequence(verb),
		MaxReplicas: svc.maxReplicas(), Replicas: svc.Status.Replicas.Wanted, Back: localPath(c.QueryParam("back"), "/services/"+svc.Name), By: rememberedName(c)}, nil
}

func (s *Server) operateForm(c echo.Context) error {
	name, verb := c.Param("name"), c.Param("verb")
	if _, known := verbs[verb]; !known {
		return echo.ErrNotFound
	}
	if err := c.Request().ParseForm(); err != nil {
		return bodyError(err)
	}
	form := c.Request().PostForm
	request := PinRequest{Reason: form.Get("reason")}
	if n, err := strconv.Atoi(form.Get("replicas")); err == nil {
		request.Replicas = &n
	}
	by := form.Get("by")
	_, err := s.operate(c, name, verb, request, by)
	if p := problemOf(err); err != nil && p.Status == http.StatusUnprocessableEntity { // say so where it was typed
		svc, readErr := s.readService(c.Request().Context(), name)
		if readErr != nil {
			return readErr
		}
		body, bodyErr := operateBodyOf(c, svc)
		if bodyErr != nil {
			return bodyErr
		}
		body.Problem, body.Reason, body.By = p, request.Reason, by
		return s.renderPage(c, p.Status, "operate", page{Title: body.Label + " " + name, Nav: "/", Body: body})
	}
	if err != nil {
		return err
	}
	rememberName(c, by)
	return c.Redirect(http.StatusSeeOther, localPath(form.Get("back"), "/services/"+name))
}

// localPath refuses to lead away from this site.
func localPath(path, otherwise string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return otherwise
	}
	return path
}

const nameCookie = "pilotlight_name"

// rememberName saves typing: it is no log-in and proves nothing.
func rememberName(c echo.Context, name string) {
	if name == "" {
		return
	}
	c.SetCookie(&http.Cookie{Name: nameCookie, Value: url.QueryEscape(cutText(name, 80)), Path: "/", HttpOnly: true,
		SameSite: http.SameSiteStrictMode, MaxAge: int((90 * 24 * time.Hour).Seconds())})
}

func rememberedName(c echo.Context) string {
	cookie, err := c.Cookie(nameCookie)
	if err != nil {
		return ""
	}
	name, err := url.QueryUnescape(cookie.Value)
	if err != nil {
		return ""
	}
	return name
}
