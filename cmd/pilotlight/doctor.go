package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
)

type doctorCommand struct {
	Nomad string `help:"Nomad's address; default NOMAD_ADDR, else http://127.0.0.1:4646 unless only --redis is given." placeholder:"URL"`
	Redis string `help:"Redis: ${redis_forms}." placeholder:"URL"`
	waitFlag
	Jobs       string `help:"Folder of job specs (*.nomad.hcl), besides the shipped ones." type:"path" placeholder:"DIR"`
	Policies   string `help:"File of policies or folder of them; default those in Redis." placeholder:"PATH"`
	Prometheus string `help:"Prometheus, for policies that ask it." placeholder:"URL"`
	outputFlags
}

// Help is an example.
func (doctorCommand) Help() string {
	return `Tries everything that Pilotlight needs of Nomad and Redis, without changing anything, and says of each finding what to do. NOMAD_TOKEN, NOMAD_NAMESPACE, NOMAD_CACERT and so on count as for every Nomad tool. Exits with 1 if there are errors; warnings alone are no failure.

-o json: {"findings": [{"check", "result": "ok"|"warning"|"error"|"skipped", "found", "do", "details": […]}], "errors": n, "warnings": n}

Example:
  pilotlight doctor --nomad http://127.0.0.1:4646 --redis redis://127.0.0.1:6379 --policies policies/`
}

// Results of a check.
const (
	resultOK      = "ok"
	resultWarning = "warning"
	resultError   = "error"
	resultSkipped = "skipped"
)

// finding is what one check found.
type finding struct {
	Check   string   `json:"check"` // stable: nomad, nomad-token, redis-persistence, …
	Result  string   `json:"result"`
	Found   string   `json:"found"` // a sentence, with figures
	Do      string   `json:"do"`    // what to do about it; "" nothing
	Details []string `json:"details"`
}

func passed(check, found string, args ...any) finding {
	return finding{Check: check, Result: resultOK, Found: fmt.Sprintf(found, args...)}
}

func skipped(check, found string, args ...any) finding {
	return finding{Check: check, Result: resultSkipped, Found: fmt.Sprintf(found, args...)}
}

func warned(check, do, found string, args ...any) finding {
	return finding{Check: check, Result: resultWarning, Found: fmt.Sprintf(found, args...), Do: do}
}

func failed(check, do, found string, args ...any) finding {
	return finding{Check: check, Result: resultError, Found: fmt.Sprintf(found, args...), Do: do}
}

// examination is one run of doctor, and what its checks have learned for those
// after them.
type examination struct {
	specs jobSpecs

	nomad     *nomad.Checkup // nil: not asked
	address   string         // Nomad's
	namespace string         // of policies that name none
	reached   bool           // Nomad answers
	acl       bool
	unknown   bool                        // Nomad does not know the token
	allowed   map[string]nomad.RightState // by right, of all namespaces the worst
	nodes     []nomad.Node                // nil: not known
	clients   []nomad.Client              // of those nodes that were asked, by their place
	jobs      map[*policies.Policy]knownJob

	redis    redis.UniversalClient // nil: not asked
	answered bool                  // Redis answers
	facts    []redisdb.Facts
	wait     int // --redis-wait-replicas

	policies   []*policies.Policy
	prometheus *url.URL // nil: not asked
}

// check is one step: what it is called while it goes on, and how long it may.
type check struct {
	name  string
	about string
	limit time.Duration
	run   func(context.Context) []finding
}

// Run examines everything in turn.
func (d doctorCommand) Run(ctx context.Context, std streams) error {
	redis.SetLogger(silent{}) // what it says of a failed connection, a finding says
	x, closing, err := d.examination()
	if err != nil {
		return err
	}
	defer closing()
	checks := x.checks()
	if d.Policies != "" {
		files, err := loadPolicies(d.Policies)
		if err != nil {
			return err
		}
		x.policies = policySet{files: files}.policies()
	}
	var total time.Duration
	for _, c := range checks {
		total += c.limit
	}
	progress := newStatusLine(std.err)
	_, _ = fmt.Fprintf(std.err, "%d checks; they may take %s in all, and mostly take a few seconds.\n", len(checks), total)

	report := doctorReport{Findings: []finding{}}
	for _, c := range checks {
		if progress.terminal {
			progress.show(fmt.Sprintf("checking %s (at most %s) …", c.about, c.limit))
		}
		found := c.within(ctx)
		progress.clear()
		if ctx.Err() != nil {
			return errCancelled
		}
		for _, f := range found {
			report.add(f)
			if !d.json() {
				if err := writeFinding(std.out, f); err != nil {
					return err
				}
			}
		}
	}
	if err := report.write(std.out, d.json()); err != nil {
		return err
	}
	if report.Errors > 0 {
		return errReported
	}
	return nil
}

type silent struct{}

// Printf drops it.
func (silent) Printf(context.Context, string, ...any) {}

// examination opens what was given; it connects to nothing yet.
func (d doctorCommand) examination() (x *examination, closing func(), err error) {
	x = &examination{allowed: map[string]nomad.RightState{}, jobs: map[*policies.Policy]knownJob{}, wait: d.RedisWaitReplicas}
	var closers []func()
	closing = func() {
		for _, c := range closers {
			c()
		}
	}
	if x.prometheus, err = (prometheusFlag{d.Prometheus}).server(); err != nil {
		return nil, nil, err
	}
	if x.specs, err = loadSpecs(d.Jobs); err != nil {
		return nil, nil, err
	}
	if d.Redis != "" {
		if x.redis, err = redisdb.Open(d.Redis); err != nil {
			return nil, nil, usageError{err}
		}
		closers = append(closers, func() { _ = x.redis.Close() })
	}
	cfg := nomad.FromEnvironment(os.Getenv)
	if d.Nomad != "" {
		cfg.Address = d.Nomad
	}
	x.address, x.namespace = cfg.Address, cfg.Namespace
	if d.Nomad != "" || d.Redis == "" || os.Getenv("NOMAD_ADDR") != "" {
		if x.nomad, err = nomad.NewCheckup(cfg); err != nil {
			closing()
			return nil, nil, usageError{err}
		}
		closers = append(closers, x.nomad.Close)
	}
	return x, closing, nil
}

// checks in the order in which each can use what those before it learned.
func (x *examination) checks() []check {
	return []check{
		{"redis", "Redis", 5 * time.Second, x.checkRedis},
		{"policies", "the policies", 5 * time.Second, x.checkPolicies},
		{"nomad", "whether Nomad answers", 8 * time.Second, x.checkReach},
		{"nomad-token", "the token", 6 * time.Second, x.checkToken},
		{"nomad-rights", "what the token may do", 30 * time.Second, x.checkRights},
		{"nomad-events", "the event streams", 20 * time.Second, x.checkEvents},
		{"nomad-nodes", "nodes and their GPUs", 12 * time.Second, x.checkNodes},
		{"nomad-clients", "the settings of the clients", 15 * time.Second, x.checkClients},
		{"jobs", "the job specs of the policies", 30 * time.Second, x.checkJobs},
		{"kill-timeout", "whether drains have the time they need", time.Second, x.checkKillTimeouts},
		{"prometheus", "Prometheus", 6 * time.Second, x.checkPrometheus},
	}
}

// within runs a check under its deadline.
func (c check) within(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	found := c.run(ctx)
	said := slices.ContainsFunc(found, func(f finding) bool { return f.Result == resultError })
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && !said {
		found = append(found, failed(c.name, "look at the load of what was asked and at the way there, then run doctor again",
			"the check was not done after %s", c.limit))
	}
	return found
}

// doctorReport is what -o json prints.
type doctorReport struct {
	Findings []finding `json:"findings"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
}

func (r *doctorReport) add(f finding) {
	if f.Details == nil {
		f.Details = []string{}
	}
	r.Findings = append(r.Findings, f)
	switch f.Result {
	case resultError:
		r.Errors++
	case resultWarning:
		r.Warnings++
	}
}

func (r *doctorReport) write(w io.Writer, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintf(w, "%s, %s\n", count(r.Errors, "error"), count(r.Warnings, "warning"))
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeIndented(w, body)
}

// writeFinding for people: the result, what was found, and below it what to do.
func writeFinding(w io.Writer, f finding) error {
	var b strings.Builder
	result := fmt.Sprintf("%-7s", f.Result)
	if code := map[string]string{resultOK: "32", resultWarning: "33", resultError: "31"}[f.Result]; code != "" && colours(w) {
		result = "\x1b[" + code + "m" + result + "\x1b[0m"
	}
	fmt.Fprintf(&b, "%s  %s: %s\n", result, f.Check, oneLine(f.Found))
	for _, line := range f.Details {
		fmt.Fprintf(&b, "%9s  - %s\n", "", oneLine(line))
	}
	if f.Do != "" {
		fmt.Fprintf(&b, "%9s→ %s\n", "", f.Do)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
