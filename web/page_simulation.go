package web

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
	"github.com/pilotlight/pilotlight/scaler/simulate/traces"
)

// simulationBody is the page of one simulation.
type simulationBody struct {
	SimulationInfo
	Text      string // of the draft
	Base      int
	Choices   simulateChoices
	Sentence  string // what was found, in one
	Tried     string // on what
	Drawn     string // cold starts and times in a slot, where from
	Far       string // how far it is, while it runs
	Percent   int    // -1: not known
	Priced    bool
	Rows      []simulationRow // without the curve's
	Swept     []simulate.Result
	Paretos   []simulate.Drawing
	Timelines []simulate.Drawing
	Notes     []string
}

type simulationRow struct {
	simulate.Result
	Label  string
	Strong bool
}

// simulateChoices is what a draft can be tried on, in the editor's form and on
// the page of a simulation.
type simulateChoices struct {
	Recorded bool // demand is recorded here
	Over     string
	Sweep    bool
	Traces   []string
	Shadows  bool // a draft can run beside the policy
}

// Windows that are offered.
func (simulateChoices) Windows() []namedText {
	return []namedText{{"last=24h", "the last 24 hours"}, {"last=168h", "the last 7 days"}, {"last=336h", "the last 14 days"}}
}

func (s *Server) choices(over string, sweep bool) simulateChoices {
	c := simulateChoices{Recorded: s.cfg.Recordings != nil, Over: over, Sweep: sweep, Traces: traces.Names(), Shadows: s.cfg.Shadows != nil}
	if c.Over == "" {
		c.Over = "last=168h"
	}
	return c
}

// simulateForm begins to try the text of the editor out, and leads to its page. On
// anything that is in the way the editor says so, and keeps the text.
func (s *Server) simulateForm(c echo.Context, body editorBody, form url.Values) error {
	query, err := url.ParseQuery(form.Get("over"))
	if err != nil {
		return badRequest("over is not what the form offers")
	}
	if form.Get("sweep") != "" {
		query.Set("sweep", "true")
	}
	draft, err := parseDraft(body.Name, body.Text)
	if err != nil {
		return err
	}
	j, err := s.simulate(c.Request().Context(), draft, body.Text, query)
	var p *Problem
	if errors.As(err, &p) && p.Status < http.StatusInternalServerError {
		body.Problem = strings.ToUpper(p.Detail[:1]) + p.Detail[1:] + "."
		return s.renderEditor(c, p.Status, body)
	}
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/policies/"+body.Name+"/simulations/"+j.id)
}

func (s *Server) simulationPage(c echo.Context) error {
	j, err := s.findSimulation(c.Param("id"))
	if err != nil {
		return err
	}
	if j.service != c.Param("name") {
		return policies.ErrNotFound
	}
	body, err := s.bodyOf(j, time.Now())
	if err != nil {
		return err
	}
	p := page{Title: "Simulation of " + j.service, Nav: "/policies", Body: body, Stream: eventsPath + "?topics=" + topicPolicy}
	if body.Report == nil && body.Reason == nil {
		p.RefreshS = 1
	}
	return s.renderPage(c, http.StatusOK, "simulation", p)
}

// cancelSimulationForm cancels it; a page of it tells what became of it.
func (s *Server) cancelSimulationForm(c echo.Context) error {
	j, err := s.findSimulation(c.Param("id"))
	if err != nil {
		return err
	}
	j.stop()
	return c.Redirect(http.StatusSeeOther, "/policies/"+j.service+"/simulations/"+j.id)
}

func (s *Server) bodyOf(j *simulation, now time.Time) (simulationBody, error) {
	info := j.info(now)
	b := simulationBody{SimulationInfo: info, Text: j.text, Base: j.base, Choices: s.choices(j.chosen, j.sweep), Percent: -1,
		Tried: triedOn(info), Drawn: drawnFrom(info.Over, j.askedStart)}
	if p := info.Progress; p.Share != nil {
		b.Percent = int(100 * *p.Share)
	}
	b.Far = howFar(info.Progress)
	if info.Report == nil {
		return b, nil
	}
	rep := info.Report.whole
	b.Notes = info.Report.Notes
	for _, r := range rep.Results {
		if r.Patience != nil {
			b.Swept = append(b.Swept, r)
			continue
		}
		row := simulationRow{Result: r, Label: r.Name, Strong: r.Name == simulate.DraftName || r.Name == simulate.LiveName}
		if r.Name == simulate.LiveName {
			row.Label = fmt.Sprintf("live, version %d", info.Over.LiveVersion)
		}
		b.Rows = append(b.Rows, row)
		b.Priced = b.Priced || r.USD != nil
	}
	b.Sentence = foundOut(rep, info.Over)
	var err error
	if b.Timelines, err = rep.Timelines(); err != nil {
		return b, err
	}
	b.Paretos, err = rep.Paretos()
	return b, err
}

// triedOn says what the draft is tried on.
func triedOn(i SimulationInfo) string {
	o := i.Over
	requests := "its requests"
	if o.Requests != nil {
		requests = simulate.Count(*o.Requests) + " requests"
	}
	if o.Trace != nil {
		return fmt.Sprintf("Tried on the trace %s, %s: demand of others, not of %s.", *o.Trace, requests, i.Service)
	}
	text := fmt.Sprintf("Tried on what was asked of %s from %s to %s: %s.", i.Service,
		o.From.Format("2006-01-02 15:04"), o.To.Format("2006-01-02 15:04 MST"), requests)
	if missing := o.To.Sub(*o.From).Seconds() - *o.CoveredS; missing > 120 {
		text += fmt.Sprintf(" Of %s of that time nothing is known: no scaler was there to record. It counts as time without requests.",
			simulate.Span(time.Duration(missing)*time.Second))
	}
	return text
}

// drawnFrom says where cold starts and times in a slot come from. askedStart: their
// length was asked for.
func drawnFrom(o SimulationOver, askedStart bool) string {
	text := fmt.Sprintf("Cold starts take %s s as a median", short(o.ColdStartS))
	switch {
	case askedStart:
		text += ", as was asked for, and are drawn around it."
	case o.ColdStarts >= fewStarts:
		text += fmt.Sprintf(", drawn among this service's last %d.", o.ColdStarts)
	case o.ColdStarts > 0:
		text += fmt.Sprintf(", that of this service's only %s, and are drawn around it.", plural(o.ColdStarts, "cold start"))
	default:
		text += ", which is a guess: this service has none of its own to draw among."
	}
	switch {
	case o.SlotTimes != nil && *o.SlotTimes > 0:
		text += fmt.Sprintf(" Times in a slot are drawn among %s that were recorded, whatever ran beside them then.", simulate.Count(*o.SlotTimes))
	case o.SlotTimes != nil:
		text += " No time in a slot was recorded: 4 s as a median is a guess."
	}
	return text
}

// howFar says in words how far a simulation is.
func howFar(p SimulationProgress) string {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Round(time.Second) }
	text := fmt.Sprintf("%s of virtual time", simulate.Span(seconds(p.At)))
	if p.Of != nil {
		text = fmt.Sprintf("%s of %s of virtual time", simulate.Span(seconds(p.At)), simulate.Span(seconds(*p.Of)))
	}
	text += ", " + simulate.Count(p.Requests) + " requests"
	if p.ETA != nil {
		text += fmt.Sprintf("; about %d s left", int(math.Ceil(*p.ETA)))
	}
	return text
}

// foundOut is the result in a sentence.
func foundOut(rep *simulate.Report, o SimulationOver) string {
	draft := rep.Results[0]
	var b strings.Builder
	fmt.Fprintf(&b, "The draft would have used %s GPU-hours", short(draft.GPUSeconds/3600))
	waits := fmt.Sprintf("%s of %s requests would have waited for a start, ", simulate.Count(draft.ColdStarted), simulate.Count(rep.Requests))
	slowest := func(r *simulate.Result) string { return short(r.AddedWait.P99) + " s" }
	if draft.AddedWait.P99 > 0 || o.ComparedWithLive && rep.Results[1].AddedWait.P99 > 0 {
		waits += "and the slowest hundredth " + slowest(&draft) + " or more"
	} else { // then "0 s or more" says nothing
		slowest = func(r *simulate.Result) string { return short(r.AddedWait.Max) + " s" }
		waits += "the longest " + slowest(&draft)
	}
	switch {
	case !o.ComparedWithLive && o.LiveVersion > 0:
		b.WriteString(", as the policy in force, which says the same; ")
	case !o.ComparedWithLive:
		b.WriteString("; nothing is in force to compare with; ")
	default:
		live := rep.Results[1]
		if than := moreOrLess(draft.GPUSeconds, live.GPUSeconds); than != "" {
			fmt.Fprintf(&b, ", %s than the policy in force (%s); ", than, short(live.GPUSeconds/3600))
		} else {
			b.WriteString(", as much as the policy in force; ")
		}
		waits += fmt.Sprintf(" (in force: %s, and %s)", simulate.Count(live.ColdStarted), slowest(&live))
	}
	b.WriteString(waits + ".")
	return b.String()
}

// moreOrLess compares in percent of b; "" if they are the same.
func moreOrLess(a, b float64) string {
	switch {
	case b <= 0 && a <= 0, math.Abs(a-b) < 0.0005*b:
		return ""
	case b <= 0:
		return "more"
	case a < b:
		return percentOf((b-a)/b) + " % less"
	default:
		return percentOf((a-b)/b) + " % more"
	}
}

func percentOf(share float64) string {
	if share < 0.1 {
		return strconv.FormatFloat(100*share, 'f', 1, 64)
	}
	return strconv.FormatFloat(100*share, 'f', 0, 64)
}

// short writes a number with about three digits.
func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || a == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
