package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// writeReplayTable is a report for people.
func writeReplayTable(w io.Writer, rep *simulate.Report) error {
	seeds := ""
	if rep.Seeds > 1 {
		seeds = fmt.Sprintf(", medians over %d seeds", rep.Seeds)
	}
	requests := simulate.Count(rep.Requests) + " requests"
	if rep.Requests == 1 {
		requests = "1 request"
	}
	from := ""
	if !rep.Begins.IsZero() {
		from = " from " + rep.Begins.Format("2006-01-02 15:04 MST")
	}
	_, err := fmt.Fprintf(w, "%s: %s of %s over %s%s; policy %s; cold starts %s%s\n\n",
		rep.Trace, requests, counted(rep.Services, "service"),
		time.Duration(rep.SpanS*float64(time.Second)).Round(time.Second), from, rep.Policy,
		time.Duration(rep.ColdStartS*float64(time.Second)), seeds)
	if err != nil {
		return err
	}
	t := newTable(w, "NAME", "GPU-HOURS", "USD", "WAIT MEAN", "P50", "P95", "P99", "MAX", "COLD", "REFUSED", "TIMED OUT", "LAUNCHES", "FLIPS", "BUSY", "/OPT0")
	for _, r := range rep.Results {
		usd := "-"
		if r.USD != nil {
			usd = strconv.FormatFloat(*r.USD, 'f', 2, 64)
		}
		a := r.AddedWait
		t.row(r.Name, plain(r.GPUSeconds/3600), usd, plain(a.Mean)+"s", plain(a.P50)+"s", plain(a.P95)+"s", plain(a.P99)+"s", plain(a.Max)+"s",
			r.ColdStarted, r.Refused, r.TimedOut, r.Launches, r.Flips, fmt.Sprintf("%.0f%%", 100*r.BusyShare), plain(r.ToLowerBound))
	}
	if err := t.flush(); err != nil {
		return err
	}
	b := rep.LowerBound
	if _, err := fmt.Fprintf(w, "\nIf every start took its median, the least for nobody to wait, OPT0, is %s GPU-hours, and whatever is let wait %s.\n", plain(b.GPUSeconds/3600), plain(b.AnyWaitGPUSeconds/3600)); err != nil {
		return err
	}
	if priced := slices.ContainsFunc(rep.Results, func(r simulate.Result) bool { return r.USD != nil }); !priced {
		if _, err := fmt.Fprintln(w, "No price is known: say cost { usd_per_hour } in the policy, or --usd-per-hour."); err != nil {
			return err
		}
	}
	for _, note := range rep.Notes() {
		if _, err := fmt.Fprintln(w, note); err != nil {
			return err
		}
	}
	return nil
}

func plain(v float64) string { return number(&v, "") }
