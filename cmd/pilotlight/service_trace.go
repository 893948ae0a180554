package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

type serviceTraceCommand struct {
	Name    string        `arg:"" help:"Name of the service."`
	Last    time.Duration `help:"How much of what was recorded, up to two weeks; default 168h." placeholder:"168h"`
	From    string        `help:"Instead of --last: from when." placeholder:"2026-11-14T09:00:00Z"`
	To      string        `help:"Until when; default now." placeholder:"TIME"`
	Minutes bool          `help:"Only counts by the minute (minute,service,count), without times in a slot."`
	controlFlags
}

// Help is an example.
func (serviceTraceCommand) Help() string {
	return `Demand is recorded for two weeks, in steps of 10 s, with how long requests took in their slots. The trace goes to standard output, gzipped; standard error says how to replay it at its own time of day and with cold starts as long as the service's own.

Example:
  pilotlight service trace translate --last 24h > day.csv.gz
  pilotlight replay day.csv.gz --policy draft.hcl --baselines --begins 2026-11-14T09:00:00Z --cold-start 95s`
}

// Run writes the trace, and says on stderr what it covers.
func (s serviceTraceCommand) Run(ctx context.Context, std streams) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := checkName(s.Name); err != nil {
		return err
	}
	if isTerminal(std.out) {
		return usageError{errors.New("a trace is gzipped and not for a terminal: send it to a file, such as > " + s.Name + ".csv.gz")}
	}
	query := url.Values{}
	for name, value := range map[string]string{"from": s.From, "to": s.To} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if s.Last != 0 {
		query.Set("last", s.Last.String())
	}
	if s.Minutes {
		query.Set("form", "minutes")
	}
	r, err := c.do(ctx, call{method: http.MethodGet, path: []string{"services", s.Name, "trace"}, query: query})
	if err != nil {
		return about(s.Name, err)
	}
	if _, err := std.out.Write(r.body); err != nil {
		return err
	}
	begins := r.header.Get("Pilotlight-Trace-Begins")
	covered, _ := strconv.Atoi(r.header.Get("Pilotlight-Trace-Covered-Seconds"))
	cold := "it had no cold starts that could be told; 120s is taken"
	if seconds, err := strconv.ParseFloat(r.header.Get("Pilotlight-Trace-Cold-Start-Seconds"), 64); err == nil {
		// A replay adds the time until a launch is placed.
		d := max(0, time.Duration(seconds*float64(time.Second))-simulate.DefaultSetup().Launch)
		cold = "and with starts as long as its own: --cold-start " + d.Round(100*time.Millisecond).String()
	}
	_, err = fmt.Fprintf(std.err, "demand of %s from %s on; %v of that time was recorded. To replay it at its own time of day: --begins %s; %s\n",
		s.Name, begins, time.Duration(covered)*time.Second, begins, cold)
	return err
}
