package decide

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// The transcripts in testdata tell what happens to one service, second by
// second in virtual time:
//
//	policy [example=chatglm]     an HCL policy block, or a shipped example
//	advance 10s                  look each second; prints every change of count, rule or lock
//	again 6 100s                 a request of 2 s and a gap, so many times, without a line
//	rest 24h [served]            look only when the decision before says so; whatever is wanted is ready
//	look [inputs]                decide now and print it
//	arrive 40, hold 3, inflight 2
//	pending|start|ready|drain|gone r1 [r2 …]
//	latency 6s x20 | latency off what completes each second
//	gpu r1 90 | gpu r1 unknown
//	blocked no free GPU | blocked
//	metric waiting 12 | metric waiting unknown
//	clock 2026-03-28T12:00:00Z [Europe/Berlin]   set the clock, and print times as there
//	starts 30 31 29 …            measured cold starts, seconds
//	ledger lost|back
//	fail gpu_seconds=90 | answered
//	pin 3|unpin|pause|resume|sleep|wake
//	wake ahead=1h                whose stamp is by a clock that is ahead
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if filepath.Ext(path) != ".transcript" {
			t.Skip("not a transcript")
		}
		var w *world
		var printed string
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			if td.Cmd == "policy" {
				w, printed = newWorld(t, policyOf(t, td)), ""
				return fmt.Sprintf("%s: %d to %d replicas of %d slots", w.p.Name, w.p.Replicas.Min, w.p.Replicas.Max, w.p.Replicas.Concurrency)
			}
			w.t = t
			switch td.Cmd {
			case "advance":
				d, err := time.ParseDuration(td.CmdArgs[0].Key)
				if err != nil {
					td.Fatalf(t, "%v", err)
				}
				var out strings.Builder
				w.pass(d, func(d Decision) {
					if now := state(d); now != printed {
						printed = now
						fmt.Fprintln(&out, w.line(d))
					}
				})
				if out.Len() == 0 {
					return "nothing changes"
				}
				return out.String()
			case "again": // a request of 2 s, and then nothing for a while; so many times
				for range number(t, td, td.CmdArgs[0].Key) {
					w.snap.InFlight = 1
					w.pass(2*time.Second, nil)
					w.snap.InFlight = 0
					w.pass(duration(t, td, td.CmdArgs[1].Key), nil)
				}
				return ""
			case "rest":
				d, err := time.ParseDuration(td.CmdArgs[0].Key)
				if err != nil {
					td.Fatalf(t, "%v", err)
				}
				var out strings.Builder
				w.rest(d, func(d Decision) {
					if td.HasArg("served") {
						w.serve(d.To)
					}
					if now := state(d); now != printed {
						printed = now
						fmt.Fprintln(&out, w.line(d))
					}
				})
				if out.Len() == 0 {
					return "nothing changes"
				}
				return out.String()
			case "look":
				d := w.look()
				printed = state(d)
				out := w.line(d)
				for _, a := range td.CmdArgs {
					v, err := json.Marshal(d.Inputs[a.Key])
					if err != nil {
						td.Fatalf(t, "%v", err)
					}
					out += fmt.Sprintf("\n  %s = %s", a.Key, v)
				}
				if td.HasArg("signals") {
					out = fmt.Sprintf("%s\n  up   %s\n  down %s", w.line(d), signals(d.Signals.Up), signals(d.Signals.Down))
				}
				if td.HasArg("next") {
					out = fmt.Sprintf("%s\n  next look in %s", w.line(d), d.Next.Sub(d.At))
				}
				return out
			default:
				act(t, w, td)
				return ""
			}
		})
	})
}

// state is what makes a decision worth a line.
func state(d Decision) string {
	return fmt.Sprint(d.To, d.Rule, d.BrakeUntil, d.MaxStarts, d.Rule == "down-gate", strings.HasPrefix(d.Reason, "down held"))
}

func (w *world) line(d Decision) string {
	at := fmt.Sprint(d.At.Sub(epoch))
	if w.zone != nil {
		at = d.At.In(w.zone).Format("Mon 2 15:04:05 MST")
	}
	s := fmt.Sprintf("%s  %d→%d  %s: %s", at, d.From, d.To, d.Rule, d.Reason)
	if !d.BrakeUntil.IsZero() {
		s += fmt.Sprintf("  [no start for %s]", d.BrakeUntil.Sub(d.At))
	} else if d.MaxStarts > 0 {
		s += fmt.Sprintf("  [starts at once: %d]", d.MaxStarts)
	}
	return s
}

func signals(s Signal) string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func policyOf(t *testing.T, td *datadriven.TestData) *policies.Policy {
	if arg, ok := td.Arg("example"); ok {
		return examplePolicy(t, arg.FirstVal(t))
	}
	ps, err := policies.Parse(td.Pos, []byte(td.Input))
	if err != nil {
		td.Fatalf(t, "%v", err)
	}
	return ps[0]
}

// examplePolicy is one of the policies that are shipped.
func examplePolicy(t *testing.T, name string) *policies.Policy {
	path := filepath.Join("..", "..", "policies", "examples", name+".hcl")
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := policies.Parse(path, src)
	if err != nil {
		t.Fatal(err)
	}
	return ps[0]
}

var phases = map[string]jobs.Phase{
	"pending": jobs.Pending, "start": jobs.Starting, "ready": jobs.Ready, "drain": jobs.Draining, "gone": jobs.Gone,
}

// act changes the world without looking at it.
func act(t *testing.T, w *world, td *datadriven.TestData) {
	words := make([]string, len(td.CmdArgs))
	for i, a := range td.CmdArgs {
		words[i] = a.Key
	}
	if phase, ok := phases[td.Cmd]; ok {
		for _, id := range words {
			w.replica(id, phase)
		}
		return
	}
	op := &w.snap.Operator
	switch td.Cmd {
	case "arrive":
		w.arrive(number(t, td, words[0]))
	case "hold":
		w.hold(number(t, td, words[0]))
	case "inflight":
		w.snap.InFlight = number(t, td, words[0])
	case "latency":
		if w.served.times = 0; words[0] != "off" {
			w.served.latency = duration(t, td, words[0])
			w.served.times = number(t, td, strings.TrimPrefix(words[1], "x"))
		}
	case "gpu":
		for _, id := range words[:len(words)-1] {
			if last := words[len(words)-1]; last == "unknown" {
				w.gpu(id, nil)
			} else {
				w.gpu(id, some(float64(number(t, td, last))))
			}
		}
	case "metric":
		v := new(float64)
		if words[1] == "unknown" {
			v = nil
		} else if _, err := fmt.Sscan(words[1], v); err != nil {
			td.Fatalf(t, "%v", err)
		}
		w.snap.Metrics = map[string]*float64{words[0]: v}
	case "clock":
		var err error
		if w.now, err = time.Parse(time.RFC3339, words[0]); err != nil {
			td.Fatalf(t, "%v", err)
		}
		if len(words) > 1 {
			if w.zone, err = time.LoadLocation(words[1]); err != nil {
				td.Fatalf(t, "%v", err)
			}
		}
	case "blocked":
		w.snap.Blocked = strings.Join(words, " ")
	case "starts":
		for _, s := range words {
			w.snap.Starts = append(slices.Clone(w.snap.Starts), float64(number(t, td, s)))
		}
	case "deadline":
		w.snap.Deadlines = append(slices.Clone(w.snap.Deadlines), w.now.Add(duration(t, td, words[0])))
	case "ledger":
		w.snap.Known = words[0] == "back"
	case "fail":
		w.snap.Failures.InARow++
		w.snap.Failures.Last = w.now
		w.snap.Failures.Reason = "exit status 1: CUDA out of memory"
		if a, ok := td.Arg("gpu_seconds"); ok {
			w.snap.Failures.Seconds += float64(number(t, td, a.FirstVal(t)))
		}
	case "answered":
		w.snap.Failures = Failures{}
	case "pin":
		n := number(t, td, words[0])
		op.Pinned, op.By, op.Reason = &n, "ada", "load test"
	case "unpin":
		op.Pinned = nil
	case "pause":
		op.Paused, op.By, op.Reason = true, "ada", ""
	case "resume":
		op.Paused, op.Asleep, op.SleepAt = false, false, time.Time{}
	case "sleep":
		op.Asleep, op.SleepAt, op.By, op.Reason = true, w.now, "ada", ""
	case "wake":
		op.WakeAt, op.By, op.Reason = w.now, "ada", "before the demo"
		if a, ok := td.Arg("ahead"); ok {
			op.WakeAt = w.now.Add(duration(t, td, a.FirstVal(t)))
		}
	case "set":
		for _, a := range td.CmdArgs {
			switch a.Key {
			case "max":
				p := *w.p
				p.Replicas.Max = number(t, td, a.FirstVal(t))
				w.p = &p
			case "min":
				p := *w.p
				p.Replicas.Min = number(t, td, a.FirstVal(t))
				w.p = &p
			default:
				td.Fatalf(t, "set %s?", a.Key)
			}
		}
	default:
		td.Fatalf(t, "unknown command %s", td.Cmd)
	}
}

func number(t *testing.T, td *datadriven.TestData, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		td.Fatalf(t, "%v", err)
	}
	return n
}

func duration(t *testing.T, td *datadriven.TestData, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		td.Fatalf(t, "%v", err)
	}
	return d
}
