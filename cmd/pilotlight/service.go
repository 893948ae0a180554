package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/web"
)

type serviceCommand struct {
	List   serviceListCommand   `cmd:"" help:"List the services and how they stand."`
	Show   serviceShowCommand   `cmd:"" help:"Show one service and its replicas."`
	Wake   serviceWakeCommand   `cmd:"" help:"Launch a replica as if a request had come."`
	Sleep  serviceSleepCommand  `cmd:"" help:"Drain to zero until the next request."`
	Pause  servicePauseCommand  `cmd:"" help:"Change nothing, and take no new requests while at zero."`
	Resume serviceResumeCommand `cmd:"" help:"End a pause or a sleep, and bring back a job that was stopped or purged in Nomad."`
	Pin    servicePinCommand    `cmd:"" help:"Hold exactly N replicas."`
	Unpin  serviceUnpinCommand  `cmd:"" help:"Let the policy decide again, also about a count that was set in Nomad itself."`
	Trace  serviceTraceCommand  `cmd:"" help:"Export what was asked of a service, as a trace that replay reads."`
}

// Help is an example.
func (serviceCommand) Help() string {
	return "Example:\n  pilotlight service wake translate --reason \"demo at ten\""
}

type serviceListCommand struct {
	controlFlags
	outputFlags
}

// Help is an example.
func (serviceListCommand) Help() string { return "Example:\n  pilotlight service list" }

// Run prints a table, or what the control plane answers.
func (s serviceListCommand) Run(ctx context.Context, std streams) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var list []web.ServiceInfo
	body, err := c.get(ctx, &list, "services")
	if err != nil {
		return err
	}
	if s.json() {
		return writeIndented(std.out, body)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(std.err, "There are no services; a policy makes one.")
		return err
	}
	t := newTable(std.out, "NAME", "STATE", "READY", "WANTED", "IN FLIGHT", "HELD", "QPS", "P95", "GPU", "NOTE")
	for _, v := range list {
		t.row(v.Name, v.State, v.Replicas.Ready, v.Replicas.Wanted, v.Demand.InFlight, v.Demand.Held,
			number(v.QPS, ""), number(v.Latency.P95, " ms"), number(v.GPU, " %"), noteOn(v))
	}
	return t.flush()
}

// noteOn a service: what somebody who looks at it should know first.
func noteOn(s web.ServiceInfo) string {
	switch {
	case s.At == nil:
		return "not reported yet"
	case s.Stale:
		return "not reported since " + utc(*s.At)
	case s.Paused != nil && s.Blocked != nil && *s.Paused != *s.Blocked:
		return *s.Paused + "; " + *s.Blocked
	case s.Paused != nil: // also while replicas are ready, and nothing is in the way
		return *s.Paused
	case s.Blocked != nil:
		return *s.Blocked
	case s.ETA != nil:
		return "ready in " + aboutSeconds(*s.ETA)
	}
	return ""
}

type serviceShowCommand struct {
	Name string `arg:"" help:"Name of the service."`
	controlFlags
	outputFlags
}

// Help is an example.
func (serviceShowCommand) Help() string { return "Example:\n  pilotlight service show translate" }

// Run prints one service, or what the control plane answers.
func (s serviceShowCommand) Run(ctx context.Context, std streams) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := checkName(s.Name); err != nil {
		return err
	}
	var v web.ServiceInfo
	body, err := c.get(ctx, &v, "services", s.Name)
	if err != nil {
		return about(s.Name, err)
	}
	if s.json() {
		return writeIndented(std.out, body)
	}
	return writeService(std.out, v)
}

func writeService(w io.Writer, v web.ServiceInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, orDash(oneLine(fmt.Sprintf(format, args...))))
	}
	r := v.Replicas
	line("service", "%s", v.Name)
	line("state", "%s", v.State)
	line("replicas", "%d wanted: %d pending, %d starting, %d ready, %d draining", r.Wanted, r.Pending, r.Starting, r.Ready, r.Draining)
	line("demand", "%d in flight, %d held, %d async", v.Demand.InFlight, v.Demand.Held, v.Demand.Async)
	line("oldest hold", "%s", number(v.Oldest, " s"))
	line("arrivals", "%s", number(v.QPS, " per second"))
	line("latency", "p50 %s, p95 %s, p99 %s", number(v.Latency.P50, " ms"), number(v.Latency.P95, " ms"), number(v.Latency.P99, " ms"))
	line("GPU", "%s used, %s of memory", number(v.GPU, " %"), mebibytes(v.GPUMem))
	line("cold start", "p50 %s, p90 %s, last %s (of %d)", number(v.Cold.P50, " s"), number(v.Cold.P90, " s"), number(v.Cold.Last, " s"), v.Cold.Count)
	line("policy", "version %d", v.PolicyVersion)
	line("reason", "%s", v.Reason)
	if v.PausedAt != nil {
		line("paused", "since %s", utc(*v.PausedAt))
	}
	if v.Pinned != nil {
		until := "until it is taken back"
		if v.PinnedUntil != nil {
			until = "until " + utc(*v.PinnedUntil)
		}
		line("pinned", "to %d %s", *v.Pinned, until)
	}
	line("note", "%s", noteOn(v))
	for _, n := range v.Notices {
		line("notice", "%s (since %s)", n.Text, utc(n.Since))
		for _, d := range n.Detail {
			line("", "%s", d)
		}
	}
	if err := t.Flush(); err != nil || len(r.List) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	rows := newTable(w, "REPLICA", "PHASE", "SINCE", "NODE", "ADDRESS", "IN FLIGHT", "SLOTS", "GPU")
	for _, a := range r.List {
		rows.row(a.ID, a.Phase, utc(a.Since), a.Node, a.Address, a.InFlight, a.Slots, number(a.GPUUtilizationPercent, " %"))
	}
	return rows.flush()
}

func mebibytes(bytes *float64) string {
	if bytes == nil {
		return "-"
	}
	m := *bytes / (1 << 20)
	return number(&m, " MiB")
}

// operateFlags of every command that an operator gives.
type operateFlags struct {
	Name   string `arg:"" help:"Name of the service."`
	Reason string `env:"-" required:"" help:"Why; recorded with the decision." placeholder:"TEXT"`
	controlFlags
	outputFlags
}

// send hands a command to the scaler by way of the control plane. It is obeyed
// at once, but not by the time of the answer.
func (o operateFlags) send(ctx context.Context, std streams, verb string, replicas *int) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	if err := checkName(o.Name); err != nil {
		return err
	}
	if strings.TrimSpace(o.Reason) == "" {
		return usageError{errors.New(`--reason is empty; give a few words that tell others why, such as --reason "load test until noon"`)}
	}
	var body []byte
	if verb == jobs.VerbPin {
		body, err = json.Marshal(web.PinRequest{Replicas: replicas, Reason: o.Reason})
	} else {
		body, err = json.Marshal(web.CommandRequest{Reason: o.Reason})
	}
	if err != nil {
		return err
	}
	r, err := c.do(ctx, call{method: http.MethodPost, path: []string{"services", o.Name, verb}, media: mediaJSON, body: body})
	if err != nil {
		return about(o.Name, err)
	}
	if o.json() {
		return writeIndented(std.out, r.body)
	}
	what := verb
	if replicas != nil {
		what = strings.TrimSpace(fmt.Sprintf("%s %d", verb, *replicas))
	}
	_, err = fmt.Fprintf(std.out, "%s: %s is recorded, and handed to the scaler\n", o.Name, what)
	return err
}

type (
	serviceWakeCommand   struct{ operateFlags }
	serviceSleepCommand  struct{ operateFlags }
	servicePauseCommand  struct{ operateFlags }
	serviceResumeCommand struct{ operateFlags }
	serviceUnpinCommand  struct{ operateFlags }
	servicePinCommand    struct {
		operateFlags
		Replicas int `arg:"" name:"n" help:"How many, 0 to replicas.max of the policy."`
	}
)

// Help is an example.
func (serviceWakeCommand) Help() string {
	return "Example:\n  pilotlight service wake translate --reason \"demo at ten\""
}

// Help is an example.
func (serviceSleepCommand) Help() string {
	return "Requests in flight finish first.\n\nExample:\n  pilotlight service sleep translate --reason \"GPUs are needed elsewhere\""
}

// Help is an example.
func (servicePauseCommand) Help() string {
	return "Example:\n  pilotlight service pause translate --reason \"maintenance of node 3\""
}

// Help is an example.
func (serviceResumeCommand) Help() string {
	return "A job that somebody stopped or purged in Nomad is started or registered again, at count 0.\n\nExample:\n  pilotlight service resume translate --reason \"the new model is in place\""
}

// Help is an example.
func (servicePinCommand) Help() string {
	return "Example:\n  pilotlight service pin translate 2 --reason \"load test\""
}

// Help is an example.
func (serviceUnpinCommand) Help() string {
	return "Example:\n  pilotlight service unpin translate --reason \"the load test is over\""
}

// Run wakes.
func (s serviceWakeCommand) Run(ctx context.Context, std streams) error {
	return s.send(ctx, std, jobs.VerbWake, nil)
}

// Run puts to sleep.
func (s serviceSleepCommand) Run(ctx context.Context, std streams) error {
	return s.send(ctx, std, jobs.VerbSleep, nil)
}

// Run pauses.
func (s servicePauseCommand) Run(ctx context.Context, std streams) error {
	return s.send(ctx, std, jobs.VerbPause, nil)
}

// Run resumes.
func (s serviceResumeCommand) Run(ctx context.Context, std streams) error {
	return s.send(ctx, std, jobs.VerbResume, nil)
}

// Run pins; the control plane knows the policy's bounds.
func (s servicePinCommand) Run(ctx context.Context, std streams) error {
	if s.Replicas < 0 {
		return usageError{fmt.Errorf("N is %d; allowed: 0 and above", s.Replicas)}
	}
	return s.send(ctx, std, jobs.VerbPin, &s.Replicas)
}

// Run unpins.
func (s serviceUnpinCommand) Run(ctx context.Context, std streams) error {
	return s.send(ctx, std, jobs.VerbUnpin, nil)
}
