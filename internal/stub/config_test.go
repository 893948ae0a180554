package stub

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// parse reads flags as cmd does, with Config as a command.
func parse(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var cli struct {
		Config `embed:""`
	}
	parser, err := kong.New(&cli, kong.Exit(func(int) { t.Error("kong exited") }), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return cli.Config, err
}

func TestTheFlagsAreThoseOfTheInterface(t *testing.T) {
	got, err := parse(t, "--listen", "127.0.0.1:9", "--load", "3s", "--latency", "50ms", "--ms-per-token", "2.5",
		"--concurrency", "4", "--fail-load", "0.1", "--crash-after", "7", "--hang", "0.2", "--error", "0.3",
		"--gpu-util", "90@30s", "--compute-on", "--seed", "5", "--log-file", "/log", "--model", "m")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen: "127.0.0.1:9", Load: 3 * time.Second, Latency: 50 * time.Millisecond, MsPerToken: 2.5,
		Concurrency: 4, FailLoad: 0.1, CrashAfter: 7, Hang: 0.2, Error: 0.3,
		GPUUtil: "90@30s", ComputeOn: true, Seed: 5, LogFile: "/log", Model: "m",
	}
	ignore := cmpopts.IgnoreFields(Config{}, "Stderr", "Log", "Logger", "Exit")
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Error(diff)
	}
	got, err = parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Config{Concurrency: 8, GPUUtil: "auto", Seed: 1, Model: "stub"}, got, ignore); diff != "" {
		t.Errorf("defaults: %s", diff)
	}
}

func TestValuesOutOfRangeAreRefusedWithTheirFlag(t *testing.T) {
	for _, c := range []struct {
		flag, want string
		cfg        Config
	}{
		{"--fail-load=1.5", "--fail-load", Config{FailLoad: 1.5}},
		{"--hang=-0.1", "--hang", Config{Hang: -0.1}},
		{"--error=NaN", "--error", Config{Error: nan()}},
		{"--load=-1s", "--load", Config{Load: -time.Second}},
		{"--concurrency=-1", "--concurrency", Config{Concurrency: -1}},
		{"--gpu-util=101", "--gpu-util", Config{GPUUtil: "101"}},
	} {
		if _, err := parse(t, c.flag); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s on the command line: error %v, want one that names %s", c.flag, err, c.want)
		}
		if err := New(c.cfg).Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s in Config: Run returned %v, want an error that names %s", c.flag, err, c.want)
		}
	}
	if err := (Config{Hang: 0.6, Error: 0.6}).Validate(); err == nil {
		t.Error("probabilities of more than 1 together were not refused")
	}
}

func nan() float64 {
	zero := 0.0
	return zero / zero
}

func TestUtilizationFollowsItsScript(t *testing.T) {
	for _, c := range []struct {
		script string
		want   map[time.Duration]float64 // by time since the start, with 2 of 8 running
	}{
		{"", map[time.Duration]float64{0: 25, time.Hour: 25}},
		{"auto", map[time.Duration]float64{0: 25}},
		{"70", map[time.Duration]float64{0: 70, time.Hour: 70}},
		{"90@30s, 20@60s", map[time.Duration]float64{0: 25, 30*time.Second - 1: 25, 30 * time.Second: 90, 59 * time.Second: 90, time.Minute: 20, time.Hour: 20}},
		{"10,95@1m", map[time.Duration]float64{0: 10, time.Minute: 95}},
	} {
		u, err := parseUtilization(c.script)
		if err != nil {
			t.Errorf("%q: %v", c.script, err)
		}
		for up, want := range c.want {
			if got := u.at(up, 2, 8); got != want {
				t.Errorf("%q after %s: %v, want %v", c.script, up, got, want)
			}
		}
	}
	for _, script := range []string{"x", "-1", "100.5", "NaN", "90@", "90@x", "90@-1s", "90@60s,20@30s", "90@30s,20", ",", "90@30s,"} {
		if _, err := parseUtilization(script); err == nil {
			t.Errorf("%q was not refused", script)
		}
	}
}

func TestUtilizationIsMeasuredFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{GPUUtil: "90@30s,20@60s"})
		for _, want := range []string{" 0\n", " 90\n", " 20\n"} {
			if got := s.get("/metrics").body; !strings.Contains(got, `modelName="stub"}`+want) {
				t.Errorf("metrics without GPU utilization%s:\n%s", want, got)
			}
			time.Sleep(30 * time.Second)
		}
	})
}

func TestServeAppendsToItsLogFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "executions.log")
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- New(Config{LogFile: file, Replica: "a"}).Serve(ctx, l) }()
		body := strings.NewReader(`{"text":"hi","target_lang":"es"}`)
		resp, err := http.Post("http://"+l.Addr().String()+"/translate", "application/json", body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cancel()
		if err := <-result; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	}
	log, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "\n"); n != 4 || strings.Count(string(log), `"event":"finished"`) != 2 {
		t.Errorf("log: %s; want two executions of two lines", log)
	}
}

func TestRunSaysWhatIsWrongWithItsAddressOrLogFile(t *testing.T) {
	if err := New(Config{Listen: "127.0.0.1:99999"}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen") {
		t.Errorf("Run returned %v", err)
	}
	if err := New(Config{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("Run without an address returned %v", err)
	}
	missing := filepath.Join(t.TempDir(), "missing", "log")
	if err := New(Config{Listen: "127.0.0.1:0", LogFile: missing}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "log of executions") {
		t.Errorf("Run returned %v", err)
	}
}
