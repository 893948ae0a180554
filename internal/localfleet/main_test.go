package localfleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the supervisor of the fleets under test and the
// program that their tasks run; actAs in its environment says which.
const actAs = "LOCALFLEET_TEST_ACT_AS"

func TestMain(m *testing.M) {
	MaybeSupervise()
	switch act := os.Getenv(actAs); act {
	case "":
		goroutines := runtime.NumGoroutine()
		code := m.Run()
		if code == 0 {
			if left := leftBehind(goroutines); left != "" {
				fmt.Fprintln(os.Stderr, "after all tests:", left)
				code = 1
			}
		}
		os.Exit(code)
	case "server":
		serve()
	case "exit":
		exitWith()
	case "owner":
		ownFleet()
	case "sleeper":
		select {}
	default:
		fmt.Fprintln(os.Stderr, "cannot act as", act)
		os.Exit(2)
	}
}

// leftBehind says what the tests did not clean up: child processes, also as
// zombies, and goroutines beyond those before.
func leftBehind(goroutines int) string {
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		return fmt.Sprintf("child processes (wait4: %d, %v)", pid, err)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(end) { // http clients take a moment to close
			stacks := make([]byte, 64<<10)
			return fmt.Sprintf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
	return ""
}

// serve answers on $NOMAD_PORT_http: GET / with 200, GET /environ and /args with
// what it was given, GET /crash?code=&words= by writing words and exiting,
// GET /child with the pid of a child of its own, which is in its process group
// and has none of its environment, or with ?session=true the reverse. A signal is
// written to a file of that name beside the logs and ends it, with $LINGER only
// after GET /finish; those named in $IGNORE do nothing.
func serve() {
	caught, finish := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	go func() {
		name := signalName((<-caught).(syscall.Signal))
		_ = os.WriteFile(os.Getenv("NOMAD_ALLOC_DIR")+"/"+name, nil, 0o600)
		if os.Getenv("LINGER") != "" {
			<-finish
		}
		os.Exit(0)
	}()
	http.HandleFunc("GET /finish", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		_ = http.NewResponseController(w).Flush() // it exits before the handler returns
		finish <- struct{}{}
	})
	for name := range strings.SplitSeq(os.Getenv("IGNORE"), ",") {
		if s, ok := signals[name]; ok {
			signal.Ignore(s)
		}
	}
	answer := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, os.Getpid()) })
	http.HandleFunc("GET /environ", func(w http.ResponseWriter, _ *http.Request) { answer(w, os.Environ()) })
	http.HandleFunc("GET /args", func(w http.ResponseWriter, _ *http.Request) { answer(w, os.Args) })
	http.HandleFunc("GET /crash", func(_ http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(os.Stderr, r.FormValue("words"))
		code, _ := strconv.Atoi(r.FormValue("code"))
		os.Exit(code)
	})
	http.HandleFunc("GET /child", func(w http.ResponseWriter, r *http.Request) {
		child := exec.Command("/proc/self/exe")
		child.Env = []string{actAs + "=sleeper"}
		if r.FormValue("session") == "true" {
			child.Env = append(os.Environ(), child.Env...)
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		}
		if err := child.Start(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, child.Process.Pid)
	})
	fmt.Println("listening")
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv("NOMAD_PORT_http"), nil))
	os.Exit(1)
}

// exitWith writes $WORDS to stdout, without a line end, and exits with $CODE, except for the first
// $FAILURES runs in this allocation, if that is set: later runs then serve.
func exitWith() {
	if limit, err := strconv.Atoi(os.Getenv("FAILURES")); err == nil {
		runs := os.Getenv("NOMAD_ALLOC_DIR") + "/runs"
		before, _ := os.ReadFile(runs)
		if len(before) >= limit {
			serve()
		}
		_ = os.WriteFile(runs, append(before, '.'), 0o600)
	}
	fmt.Print(os.Getenv("WORDS"))
	code, _ := strconv.Atoi(os.Getenv("CODE"))
	os.Exit(code)
}
