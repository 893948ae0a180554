package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pilotlight/pilotlight/internal/localfleet"
)

var updateScripts = flag.Bool("update-scripts", false, "rewrite what the scripts compare output with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pilotlight": main})
}

// TestScripts runs the binary as people and CI do. Every script has a control
// plane and a data plane of its own, whose addresses are in its environment.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setUpScript,
		// terminal: this machine gives programs pseudo-terminals (not every
		// container does).
		Condition: func(name string) (bool, error) {
			if name != "terminal" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
			if err != nil {
				return false, nil
			}
			return true, f.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     cmdExits,
			"put":       cmdPut,
			"delete":    cmdDelete,
			"meanwhile": cmdMeanwhile,
			"aged":      cmdAged,
			"commands":  cmdCommands,
			"asked":     cmdAsked,
			"arrived":   cmdArrived,
			"gone":      cmdGone,
			"lock":      cmdLock,
		},
		RequireUniqueNames:  true,
		UpdateScripts:       *updateScripts,
		RequireExplicitExec: true,
	})
}

type (
	controlKey struct{}
	dataKey    struct{}
)

func setUpScript(env *testscript.Env) error {
	control, err := newControlPlane()
	if err != nil {
		return err
	}
	data := newDataPlane()
	servers := []*httptest.Server{httptest.NewServer(control), httptest.NewServer(data)}
	env.Defer(func() {
		for _, s := range servers {
			s.CloseClientConnections()
			s.Close()
		}
	})
	env.Values[controlKey{}], env.Values[dataKey{}] = control, data
	env.Setenv("PILOTLIGHT_CONTROL", servers[0].URL)
	env.Setenv("PILOTLIGHT_URL", servers[1].URL)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each command otherwise
	return nil
}

func controlOf(ts *testscript.TestScript) *controlPlane {
	return ts.Value(controlKey{}).(*controlPlane)
}
func dataOf(ts *testscript.TestScript) *dataPlane { return ts.Value(dataKey{}).(*dataPlane) }

// exits CODE COMMAND… runs a command that must end with that exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// put FILE [COMMENT]: somebody else saves the policy.
func cmdPut(ts *testscript.TestScript, _ bool, args []string) {
	comment := strings.Join(args[1:], " ")
	ts.Check(controlOf(ts).put(ts.ReadFile(args[0]), comment))
}

// delete NAME: somebody else deletes the policy.
func cmdDelete(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(controlOf(ts).remove(args[0]))
}

// meanwhile FILE: somebody else saves the policy just before the next change
// arrives.
func cmdMeanwhile(ts *testscript.TestScript, _ bool, args []string) {
	c, text := controlOf(ts), ts.ReadFile(args[0])
	c.beforeChange(func() error { return c.put(text, "in a hurry") })
}

// aged FILE: first versions have had this text since an earlier version of the
// program.
func cmdAged(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	controlOf(ts).store.first.Store(&text)
}

// commands: prints what operators have told the scaler.
func cmdCommands(ts *testscript.TestScript, _ bool, _ []string) {
	for _, line := range controlOf(ts).operated() {
		_, err := io.WriteString(ts.Stdout(), line+"\n")
		ts.Check(err)
	}
}

// asked: prints the requests that have come to the data plane.
func cmdAsked(ts *testscript.TestScript, _ bool, _ []string) {
	for _, line := range dataOf(ts).asked() {
		_, err := io.WriteString(ts.Stdout(), line+"\n")
		ts.Check(err)
	}
}

// arrived: waits until a request is held for ever.
func cmdArrived(ts *testscript.TestScript, _ bool, _ []string) { <-dataOf(ts).held }

// gone: waits until the data plane has seen that request's client go.
func cmdGone(ts *testscript.TestScript, _ bool, _ []string) { <-dataOf(ts).gone }

// lock FOLDER: this process owns that state folder until the script ends.
func cmdLock(ts *testscript.TestScript, _ bool, args []string) {
	lock, err := localfleet.LockDir(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = lock.Close() })
	ts.Setenv("OWNER", strconv.Itoa(os.Getpid()))
}

// TestEveryCommandHasHelpWithAnExample walks the whole command line.
func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	var walk func(path []string)
	seen := 0
	walk = func(path []string) {
		var out, errs bytes.Buffer
		if code := run(append(path, "--help"), streams{strings.NewReader(""), &out, &errs}); code != exitDone {
			t.Errorf("pilotlight %s --help: exit code %d: %s", strings.Join(path, " "), code, &errs)
			return
		}
		seen++
		if !strings.Contains(out.String(), "Example") || !strings.Contains(out.String(), "    pilotlight") {
			t.Errorf("pilotlight %s --help shows no example:\n%s", strings.Join(path, " "), &out)
		}
		_, list, found := strings.Cut(out.String(), "\nCommands:\n")
		if !found {
			return
		}
		for line := range strings.Lines(list) {
			words := strings.Fields(line)
			if !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   ") || len(words) <= len(path) {
				continue
			}
			child := words[:len(path)+1]
			if strings.Join(child[:len(path)], " ") == strings.Join(path, " ") {
				walk(child)
			}
		}
	}
	walk(nil)
	if seen < 20 {
		t.Errorf("only %d commands were found", seen)
	}
}

func answerJSON(w http.ResponseWriter, status int, media string, v any) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
