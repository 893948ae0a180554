package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pilotlight/pilotlight/activator/translate"
	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
	"github.com/pilotlight/pilotlight/jobs/specs"
)

const (
	apertiumWakes   = 10
	apertiumSpec    = "translate-apertium.nomad.hcl"
	apertiumService = "translate"
	apertiumAim     = 1.1
)

const apertiumMethod = `10 wakes of the shipped example through pilotlight dev, each followed by sleep and a start of the
same engine by hand with the command of its job spec, probed every 0.2 ms at the path of its check and then asked the
same translation. Both count to the first byte of the answer: by hand from just before the process is started,
through Pilotlight from when the client sends.`

// Apertium measures a wake of a real engine against the engine started by hand.
// It is skipped where the engine is not installed, and takes below a minute.
func Apertium(ctx context.Context, cfg Config) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	hand, program, err := apertiumByHand()
	if err != nil {
		return Result{}, err
	}
	if _, err := exec.LookPath(program); err != nil {
		return Result{Name: "apertium", Skipped: program + " is not installed (Debian: apt-get install apertium-apy apertium-eng-spa)"}, nil
	}
	dir, err := os.MkdirTemp("", "pilotlight-bench-")
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n, err := startNode(ctx, cfg, apertiumService, filepath.Join(dir, "state"), nil)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	woken, starts, err := alternate(ctx, cfg, "apertium", apertiumWakes, n, hand)
	if err != nil {
		return Result{}, err
	}
	var answers, byHand, ready []float64
	var stories []jobs.ColdStart
	for i := range woken {
		answers = append(answers, milliseconds(woken[i].answer))
		stories = append(stories, woken[i].story)
		byHand = append(byHand, milliseconds(starts[i].answer))
		ready = append(ready, milliseconds(starts[i].ready))
	}
	return Result{
		Name:   "apertium",
		Method: oneLine(apertiumMethod),
		Ratios: []Ratio{ratioOfMedians("whole wake to start by hand", answers, byHand, apertiumAim)},
		Figures: append([]Figure{
			figureOf("client to first byte", "ms", answers),
			figureOf("by hand: process start to first byte", "ms", byHand),
			figureOf("by hand: process start to probe answered", "ms", ready),
		}, phaseFigures(stories)...),
	}, nil
}

// apertiumByHand reads the shipped job spec for what to run and where to probe.
func apertiumByHand() (b byHand, program string, err error) {
	src, err := specs.FS.ReadFile(apertiumSpec)
	if err != nil {
		return b, "", err
	}
	s, findings := spec.Parse(apertiumSpec, src)
	if s == nil {
		return b, "", fmt.Errorf("%s: %v", apertiumSpec, findings)
	}
	group := s.GroupNamed("")
	if group == nil || group.Main() == nil || len(group.Checks) == 0 {
		return b, "", fmt.Errorf("%s: want one group with a task and a check", apertiumSpec)
	}
	task := group.Main()
	body := translation(warmBody)
	req, err := translate.Parse(body, translate.Limits{})
	if err != nil {
		return b, "", err
	}
	method, path, header, form := translate.Apertium{}.Encode(req)
	return byHand{
		command: func(address string) (string, []string) {
			_, port, _ := net.SplitHostPort(address) // it comes from a listener
			var args []string
			for _, arg := range task.Args {
				args = append(args, jobs.Interpolate(arg, map[string]string{"NOMAD_PORT_http": port}))
			}
			return task.Command, args
		},
		probePath: group.Checks[0].Path,
		request:   asking(method, path, header, form),
	}, task.Command, nil
}
