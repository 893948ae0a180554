package web

import (
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// Headers of an exported trace: what its columns cannot say.
const (
	headerTraceBegins  = "Pilotlight-Trace-Begins"
	headerTraceCovered = "Pilotlight-Trace-Covered-Seconds"
	headerTraceStart   = "Pilotlight-Trace-Cold-Start-Seconds"
)

const tracePath = apiBase + "/services/:name/trace"

func (s *Server) traceRoutes() []route {
	if s.cfg.Recordings == nil {
		return nil
	}
	return []route{{method: "GET", path: tracePath, handler: s.getTrace, api: &operation{
		summary: "What was asked of a service, as a trace that pilotlight replay reads: gzipped CSV. " + headerTraceBegins + " says when its first minute was, " +
			headerTraceCovered + " how much of the time was recorded at all, " + headerTraceStart + " the median of the service's last cold starts, from a launch until ready, if it had any",
		params: append([]parameter{nameParam, {in: "query", name: "form", kind: "string",
			about: "steps (default): minute,service,count,second,slot_ms, counts in steps of 10 s and times in a slot; minutes: minute,service,count alone"}}, windowParams...),
		answers: answers(answer{status: 200, about: "the trace, gzipped", of: []content{{media: "application/gzip"}}}, no400, no404, no503)}}}
}

// recording reads a window of what was asked of a service.
func (s *Server) recording(ctx context.Context, name string, w window) (*simulate.Recording, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	hours, err := s.cfg.Recordings.Recorded(ctx, name, w.from, w.to)
	if err != nil {
		return nil, 0, fromStore(fmt.Errorf("read the recorded demand of %s: %w", name, err))
	}
	covered, err := s.cfg.Recordings.Covered(ctx, w.from, w.to)
	if err != nil {
		return nil, 0, fromStore(fmt.Errorf("read when demand was recorded: %w", err))
	}
	return &simulate.Recording{Service: name, From: w.from, To: w.to, Hours: hours}, min(covered, w.long()), nil
}

func (s *Server) getTrace(c echo.Context) error {
	name, form := c.Param("name"), c.QueryParam("form")
	if !serviceName.MatchString(name) {
		return unknownService(name)
	}
	if form != "" && form != "steps" && form != "minutes" {
		return badRequest(fmt.Sprintf("form is %s; allowed: steps, minutes", quoteName(form)))
	}
	w, err := windowOf(c.QueryParams(), time.Now())
	if err != nil {
		return err
	}
	r, covered, err := s.recording(c.Request().Context(), name, w)
	if err != nil {
		return err
	}
	if len(r.Hours) == 0 { // of a service that is deleted what is kept is answered
		if _, err := s.readService(c.Request().Context(), name); err != nil {
			return err
		}
	}
	launches, _, err := s.startTimes(c.Request().Context(), name)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	if len(launches) > 0 {
		h.Set(headerTraceStart, strconv.FormatFloat(medianStart(launches).Seconds(), 'f', 1, 64))
	}
	h.Set("Content-Type", "application/gzip")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s.csv.gz"`, name, w.from.Format("20060102T1504Z")))
	h.Set(headerTraceBegins, w.from.Format(time.RFC3339))
	h.Set(headerTraceCovered, strconv.Itoa(int(covered.Seconds())))
	c.Response().WriteHeader(http.StatusOK)
	z := gzip.NewWriter(c.Response())
	if err := r.Write(z, form == "minutes"); err != nil {
		return nil // the reader has gone: nobody to tell
	}
	_ = z.Close()
	return nil
}
