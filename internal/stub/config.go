package stub

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Config says what the stub plays. The tags make flags of it in cmd; the zero
// value is a server that is ready at once, answers at once and never fails.
type Config struct {
	Listen      string        `help:"Address to listen on (default: 127.0.0.1:$$NOMAD_PORT_http)." placeholder:"ADDR"`
	Load        time.Duration `help:"Time to load the model: every route answers 503 until then." default:"0s" placeholder:"DURATION"`
	Latency     time.Duration `help:"Time to the first token of an answer." default:"0s" placeholder:"DURATION"`
	MsPerToken  float64       `help:"Milliseconds per token of the answer, after --latency." default:"0" placeholder:"MS" name:"ms-per-token"`
	Concurrency int           `help:"Requests computed at once; more wait (0: 8)." default:"8" placeholder:"N"`
	FailLoad    float64       `help:"Probability of dying with exit code 1 halfway through the load." default:"0" placeholder:"P"`
	CrashAfter  int           `help:"Die, without a word to anybody, when the request after the Nth begins (0: never)." default:"0" placeholder:"N"`
	Hang        float64       `help:"Probability that a request is never answered." default:"0" placeholder:"P"`
	Error       float64       `help:"Probability that a request is answered with 500." default:"0" placeholder:"P"`
	GPUUtil     string        `help:"GPU utilization in percent: auto (from the load), a number, or a script: 90@30s,20@60s is auto, 90 from 30 s after the start on, 20 from 60 s on." default:"auto" placeholder:"SCRIPT" name:"gpu-util"`
	ComputeOn   bool          `help:"Compute on for clients that have gone, as many engines do." name:"compute-on"`
	Seed        uint64        `help:"Of all probabilities; with another replica id the dice fall differently." default:"1" placeholder:"N"`
	LogFile     string        `help:"File to append the log of executions to, one JSON line at the start and one at the end of each." placeholder:"FILE" type:"path"`
	Model       string        `help:"Model that /v1/models lists." default:"stub" placeholder:"NAME"`

	// What cmd and tests put in.
	Replica string       `kong:"-"` // replica id for the log, from $NOMAD_ALLOC_ID
	Stderr  io.Writer    `kong:"-"` // for last words; nil: nowhere
	Log     io.Writer    `kong:"-"` // log of executions, besides LogFile; one Write a line; nil: none
	Logger  *slog.Logger `kong:"-"` // nil: silent
	Exit    func(int)    `kong:"-"` // ends the process at once, for CrashAfter; nil: os.Exit
}

// defaultConcurrency is what Concurrency 0 means.
const defaultConcurrency = 8

// Validate reports every field that is out of range.
func (c Config) Validate() error {
	var errs []error
	for _, p := range []struct {
		flag  string
		value float64
	}{{"fail-load", c.FailLoad}, {"hang", c.Hang}, {"error", c.Error}} {
		if !(p.value >= 0 && p.value <= 1) {
			errs = append(errs, fmt.Errorf("--%s: %v is not a probability, allowed: 0 to 1", p.flag, p.value))
		}
	}
	if c.Hang+c.Error > 1 {
		errs = append(errs, fmt.Errorf("--hang and --error: %v together, allowed: at most 1", c.Hang+c.Error))
	}
	for _, n := range []struct {
		flag  string
		value float64
	}{
		{"load", c.Load.Seconds()}, {"latency", c.Latency.Seconds()}, {"ms-per-token", c.MsPerToken},
		{"concurrency", float64(c.Concurrency)}, {"crash-after", float64(c.CrashAfter)},
	} {
		if !(n.value >= 0) {
			errs = append(errs, fmt.Errorf("--%s: must not be negative", n.flag))
		}
	}
	if _, err := parseUtilization(c.GPUUtil); err != nil {
		errs = append(errs, fmt.Errorf("--gpu-util: %w", err))
	}
	return errors.Join(errs...)
}

// tokenTime is the time one token takes.
func (c Config) tokenTime() time.Duration {
	return time.Duration(c.MsPerToken * float64(time.Millisecond))
}
