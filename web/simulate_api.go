package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
	"github.com/pilotlight/pilotlight/scaler/simulate/traces"
)

const (
	fewStarts      = 5  // cold starts of its own, below which a service's are drawn around their median
	knownStarts    = 50 // that a decision goes by
	longestAwait   = 30 * time.Second
	shortestSample = 10 * time.Second // of a series
)

var waitParam = parameter{in: "query", name: "wait", kind: "integer", about: "answer when it is over, or after this many seconds, 0 to 30"}

func (s *Server) simulateRoutes() []route {
	id := parameter{in: "path", name: "id", kind: "string", required: true, about: "of the simulation"}
	ok := okJSON(SimulationInfo{}, "how it stands, with the report once it is done")
	return []route{
		{method: "POST", path: apiBase + "/policies/:name/simulate", handler: s.postSimulate, limit: policyBody, api: &operation{
			summary: "Try a draft on recorded demand, or on a named trace: what it would have cost, who would have waited, against the policy in force, other ways to scale and somebody who knows the future. " +
				"One runs at a time in a process, for 2 minutes at most; it is cancelled when nobody asks for it for a minute. It belongs to the process of the control plane that began it: only that one answers for it",
			params: append([]parameter{nameParam, waitParam,
				{in: "query", name: "trace", kind: "string", about: "instead of recorded demand: " + strings.Join(traces.Names(), ", ")},
				{in: "query", name: "cold_start", kind: "string", about: "instead of the service's own cold starts: their median, such as 90s"},
				{in: "query", name: "sweep", kind: "string", about: "true: also with other values of patience, for the curve of the chart"}}, windowParams...),
			body: policyContents,
			answers: append(answers(answer{status: 202, about: "under way; Location is where to ask", of: []content{{media: mediaJSON, of: SimulationInfo{}}}},
				no400, no404, no413, no415, no422, answer{status: 429, about: "too many wait already; Retry-After says when to try again"}, no503), ok)}},
		{method: "GET", path: apiBase + "/simulations/:id", handler: s.getSimulation, api: &operation{
			summary: "A simulation of this process, kept for 15 minutes after its end; 404 says whether another process has begun it", params: []parameter{id, waitParam},
			answers: answers(ok, no400, no404)}},
		{method: "DELETE", path: apiBase + "/simulations/:id", handler: s.deleteSimulation, api: &operation{
			summary: "Cancel a simulation; one that is over stays as it is", params: []parameter{id},
			answers: answers(ok, no404)}},
	}
}

func (s *Server) postSimulate(c echo.Context) error {
	wait, err := waitOf(c)
	if err != nil {
		return err
	}
	text, err := draftText(c)
	if err != nil {
		return err
	}
	draft, verdict, err := s.judge(c.Request().Context(), c.Param("name"), text)
	if err != nil {
		return err
	}
	if !verdict.Valid {
		p := newProblem(http.StatusUnprocessableEntity, "invalid-policy", "the policy is wrong; nothing was simulated")
		p.Errors = verdict.Errors
		return p
	}
	j, err := s.simulate(c.Request().Context(), draft, text, c.QueryParams())
	if err != nil {
		return err
	}
	if wait > 0 {
		j.await(c.Request().Context(), wait)
	}
	info, status := j.info(time.Now()), http.StatusOK
	if info.State == simulationWaiting || info.State == simulationRunning {
		status = http.StatusAccepted
	}
	c.Response().Header().Set("Location", apiBase+"/simulations/"+j.id)
	return c.JSON(status, info)
}

func (s *Server) getSimulation(c echo.Context) error {
	wait, err := waitOf(c)
	if err != nil {
		return err
	}
	j, err := s.findSimulation(c.Param("id"))
	if err != nil {
		return err
	}
	if wait > 0 {
		j.await(c.Request().Context(), wait)
	}
	return c.JSON(http.StatusOK, j.info(time.Now()))
}

func (s *Server) deleteSimulation(c echo.Context) error {
	j, err := s.findSimulation(c.Param("id"))
	if err != nil {
		return err
	}
	j.stop()
	return c.JSON(http.StatusOK, j.info(time.Now()))
}

// stop cancels, and marks what waits or runs as cancelled at once.
func (j *simulation) stop() {
	j.cancel(errSimulationCancelled)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.end(simulationCancelled, errSimulationCancelled.Error())
}

func (s *Server) findSimulation(id string) (*simulation, error) {
	if j := s.simulations.find(id); j != nil {
		return j, nil
	}
	detail := fmt.Sprintf("there is no such simulation here, or it is not kept any more: %d of a process are, for %v after their end; begin it again", keptSimulations, simulate.Span(keepSimulation))
	if !strings.HasPrefix(id, s.simulations.own) {
		detail = "there is no such simulation in this process: one belongs to the process of the control plane that began it, and ends with it. " +
			"Behind a balancer keep a client at one process, or begin it again and ask for the result in the same request (?wait=30)"
	}
	return nil, newProblem(http.StatusNotFound, "unknown-simulation", detail)
}

func waitOf(c echo.Context) (time.Duration, error) {
	text := c.QueryParam("wait")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > int(longestAwait.Seconds()) {
		return 0, badRequest(fmt.Sprintf("wait is %s; allowed: 0 to 30, seconds", quoteName(text)))
	}
	return time.Duration(n) * time.Second, nil
}

// simulate begins to try a draft out on what q asks for.
func (s *Server) simulate(ctx context.Context, draft *policies.Policy, text string, q url.Values) (*simulation, error) {
	name := draft.Name
	current, err := s.currentVersion(ctx, name)
	if err != nil && !errors.Is(err, policies.ErrNotFound) {
		return nil, err
	}
	j := &simulation{service: name, text: text, base: current.Version, setup: simulate.DefaultSetup(),
		candidates: []simulate.Candidate{simulate.Policy(simulate.DraftName, draft)}}
	j.over = SimulationOver{LiveVersion: current.Version, ReplicasAtMost: draft.Replicas.Max, SlotsOfOneReplica: draft.Replicas.Concurrency}
	if live := current.Policy; live != nil && len(policies.Diff(live, draft)) > 0 {
		c := simulate.Policy(simulate.LiveName, live)
		c.GPUs = s.cfg.GPUs(live) // a draft may be of another job
		j.candidates = append(j.candidates, c)
		j.over.ComparedWithLive = true
	}
	j.setup.Drawn, j.setup.Workers = len(j.candidates), max(1, runtime.GOMAXPROCS(0)/2)
	j.setup.GPUs = s.cfg.GPUs(draft)
	j.over.ReplicaGPUs = j.setup.GPUs
	j.candidates = append(j.candidates, simulate.Baselines(draft)...)
	switch sweep := q.Get("sweep"); sweep {
	case "", "false":
	case "true":
		j.sweep = true
	default:
		return nil, badRequest(fmt.Sprintf("sweep is %s; allowed: true, false", quoteName(sweep)))
	}
	if j.sweep {
		j.candidates = append(j.candidates, simulate.Sweep(draft)[:len(simulate.Patiences)]...)
	}
	if err := s.coldStartsOf(ctx, j, q.Get("cold_start")); err != nil {
		return nil, err
	}
	if trace := q.Get("trace"); trace != "" {
		err = j.onTrace(trace)
	} else {
		err = s.onRecorded(ctx, j, q)
	}
	if err != nil {
		return nil, err
	}
	if !s.simulations.add(j) {
		p := newProblem(http.StatusTooManyRequests, "too-many-simulations",
			fmt.Sprintf("one simulation runs and %d wait already; cancel one, or try again", waitingSimulations))
		p.RetryAfterS = 5
		return nil, p
	}
	return j, nil
}

// onTrace tries it on a shipped trace.
func (j *simulation) onTrace(name string) error {
	if !slices.Contains(traces.Names(), name) {
		return badRequest(fmt.Sprintf("trace is %s; allowed: %s", quoteName(name), strings.Join(traces.Names(), ", ")))
	}
	j.over.Trace, j.chosen = &name, "trace="+name
	length := traces.LengthOf(name)
	j.long, j.total, j.over.Requests = length.Span, length.Requests, &length.Requests
	j.setup.Series = time.Minute
	seed := j.setup.Seed
	j.open = func() (simulate.Source, func(), error) {
		f, err := traces.Open(name)
		if err != nil {
			return nil, nil, err
		}
		t, err := simulate.NewTrace(f, name, simulate.DefaultDurations(), seed)
		return t, func() { _ = f.Close() }, err
	}
	return nil
}

// onRecorded tries it on what was asked of the service.
func (s *Server) onRecorded(ctx context.Context, j *simulation, q url.Values) error {
	if s.cfg.Recordings == nil {
		return badRequest("demand is not recorded here; say trace=NAME, one of " + strings.Join(traces.Names(), ", "))
	}
	w, err := windowOf(q, time.Now())
	if err != nil {
		return err
	}
	r, covered, err := s.recording(ctx, j.service, w)
	if err != nil {
		return err
	}
	j.total = r.Requests()
	switch {
	case j.total == 0:
		return newProblem(http.StatusUnprocessableEntity, "nothing-recorded", fmt.Sprintf(
			"nobody is known to have asked for %s from %s to %s; %s of that time was recorded. Choose another time, or a trace: %s",
			j.service, w.from.Format("2006-01-02 15:04"), w.to.Format("2006-01-02 15:04 MST"), simulate.Span(covered), strings.Join(traces.Names(), ", ")))
	case j.total > simulationRequests:
		return newProblem(http.StatusUnprocessableEntity, "too-much-recorded", fmt.Sprintf(
			"%s requests came in that time, and a simulation takes %s at most: choose a shorter one", simulate.Count(j.total), simulate.Count(simulationRequests)))
	}
	times := r.Times()
	if last := q.Get("last"); last != "" {
		j.chosen = "last=" + last
	}
	j.over.From, j.over.To, j.over.CoveredS = &w.from, &w.to, ptrTo(covered.Seconds())
	j.over.Requests, j.over.SlotTimes = ptrTo(j.total), &times
	j.long, j.setup.Lasts, j.setup.Begins = w.long(), w.long(), w.from
	j.setup.Series = max(shortestSample, (w.long()/mostPoints+shortestSample-1)/shortestSample*shortestSample)
	seed := j.setup.Seed
	j.open = func() (simulate.Source, func(), error) { return r.Source(seed), func() {}, nil }
	return nil
}

// coldStartsOf lets launches take as long as those of the service have taken.
func (s *Server) coldStartsOf(ctx context.Context, j *simulation, instead string) error {
	if instead != "" {
		d, err := time.ParseDuration(instead)
		if err != nil || d <= 0 || d > 24*time.Hour {
			return badRequest(fmt.Sprintf("cold_start is %s; allowed: more than 0s, up to 24h, such as 90s", quoteName(instead)))
		}
		j.askedStart = true
		j.setup.ColdStart, j.setup.Launch = d, 0
		j.setup.Learned = slices.Repeat([]float64{d.Seconds()}, fewStarts) // as a service that knows them
		j.over.ColdStartS = d.Seconds()
		return nil
	}
	launches, whole, err := s.startTimes(ctx, j.service)
	if err != nil {
		return err
	}
	j.setup.Learned = whole
	j.over.ColdStarts = len(launches)
	if len(launches) > 0 {
		j.setup.ColdStart, j.setup.Launch = medianStart(launches), 0
		if len(launches) >= fewStarts {
			j.setup.ColdStarts = launches
		}
	}
	j.over.ColdStartS = j.setup.ColdStart.Seconds()
	return nil
}

// startTimes are how long starts of a service have lately taken, in seconds, oldest
// first: from a launch until the replica was ready, and, of those that somebody
// waited for, from the oldest hold to the first byte.
func (s *Server) startTimes(ctx context.Context, service string) (launches, whole []float64, err error) {
	list, err := s.coldStarts(ctx, service, 4*knownStarts)
	if err != nil {
		return nil, nil, err
	}
	slices.Reverse(list) // oldest first
	for _, c := range list {
		ready := 0.0
		for _, p := range c.Phases {
			switch p.Name {
			case jobs.PhasePlace, jobs.PhasePull, jobs.PhaseStart, jobs.PhaseLoad:
				ready += p.DurMS / 1000
			}
		}
		if c.Outcome == jobs.OutcomeFailed || ready <= 0 {
			continue
		}
		launches = append(launches, ready)
		if c.Outcome == jobs.OutcomeAnswered {
			whole = append(whole, c.DurMS/1000)
		}
	}
	return launches[max(0, len(launches)-knownStarts):], whole[max(0, len(whole)-knownStarts):], nil
}

// medianStart of at least one.
func medianStart(seconds []float64) time.Duration {
	sorted, n := slices.Sorted(slices.Values(seconds)), len(seconds)
	return time.Duration((sorted[(n-1)/2] + sorted[n/2]) / 2 * float64(time.Second))
}
