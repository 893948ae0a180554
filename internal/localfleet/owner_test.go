package localfleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// ownFleet is a process that owns a fleet in $OWNER_DIR: two servers. It writes
// their addresses to stdout as one line of JSON when both run, logs to stderr,
// and stays until it is killed.
func ownFleet() {
	die := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	f, err := New(Config{Dir: os.Getenv("OWNER_DIR"), WaitForOwner: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		die(err)
	}
	ctx := context.Background()
	spec := testSpec("server", nil)
	spec.Groups[0].Restart = jobs.Restart{Attempts: 100, Interval: time.Hour, Mode: "fail"} // at once
	if err := f.Ensure(ctx, spec, testRef, false); err != nil {
		die(err)
	}
	if err := f.Scale(ctx, testRef, 2, "test", nil); err != nil {
		die(err)
	}
	go func() {
		told := false
		_ = f.Watch(ctx, func(ref jobs.Ref) {
			var addresses []string
			o, err := f.Observe(ctx, ref)
			if err != nil {
				die(err)
			}
			for _, a := range o.Allocations {
				if isRunning(a) {
					addresses = append(addresses, a.Address)
				}
			}
			if len(addresses) == 2 && !told {
				told = true
				_ = json.NewEncoder(os.Stdout).Encode(addresses)
			}
		})
	}()
	die(f.Run(ctx))
}

// owner is such a process and what it started.
type owner struct {
	process *os.Process
	log     *bufio.Scanner
	pids    []int // servers
	kin     []int // children of the servers in sessions of their own, with their environment
	kinless []int // children of the servers in their groups, without their environment
}

func startOwner(t *testing.T, dir string) *owner {
	t.Helper()
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), actAs+"=owner", "OWNER_DIR="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &owner{process: cmd.Process, log: bufio.NewScanner(stderr)}
	t.Cleanup(func() { o.kill() })

	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		lines <- line
	}()
	var addresses []string
	if err := json.Unmarshal([]byte(await(t, "the owner's allocations", lines)), &addresses); err != nil {
		t.Fatalf("the owner said nothing: %v", err)
	}
	for _, address := range addresses {
		o.pids = append(o.pids, getPID(t, address, "/"))
		o.kin = append(o.kin, getPID(t, address, "/child?session=true"))
		o.kinless = append(o.kinless, getPID(t, address, "/child"))
	}
	return o
}

// kill kills the owner as nothing can be caught or cleaned up after.
func (o *owner) kill() {
	_ = o.process.Kill()
	_, _ = o.process.Wait()
}

// supervisor of the owner: its child of that name.
func (o *owner) supervisor(t *testing.T) *os.Process {
	t.Helper()
	children, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range children {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		behind := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		name, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || behind[1] != strconv.Itoa(o.process.Pid) || strings.Trim(string(name), "\x00") != supervisorName {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Fatal("the owner has no supervisor")
	return nil
}

func (o *owner) logged(t *testing.T, words string) {
	t.Helper()
	found := make(chan bool, 1)
	go func() {
		for o.log.Scan() {
			if strings.Contains(o.log.Text(), words) {
				found <- true
				return
			}
		}
		found <- false
	}()
	if !await(t, "the owner to log "+words, found) {
		t.Fatalf("the owner did not log %q", words)
	}
}

func TestNothingOutlivesAnOwnerThatIsKilled(t *testing.T) {
	o := startOwner(t, t.TempDir())
	o.kill()
	waitGone(t, o.pids...)
	waitGone(t, o.kin...)
	waitGone(t, o.kinless...)
}

func TestASupervisorThatIsKilledIsReplacedAndKnowsItsChildren(t *testing.T) {
	o := startOwner(t, t.TempDir())
	if err := o.supervisor(t).Kill(); err != nil {
		t.Fatal(err)
	}
	o.logged(t, "watches over child processes again")
	o.kill()
	waitGone(t, o.pids...)
	waitGone(t, o.kin...)
	waitGone(t, o.kinless...)
}

func TestTheNextOwnerEndsWhatBothOwnerAndSupervisorLeft(t *testing.T) {
	dir := t.TempDir()
	o := startOwner(t, dir)
	supervisor := o.supervisor(t)
	if err := o.process.Signal(syscall.SIGSTOP); err != nil { // it cannot start another one
		t.Fatal(err)
	}
	if err := supervisor.Kill(); err != nil {
		t.Fatal(err)
	}
	o.kill()
	waitGone(t, o.pids...) // the kernel's doing
	for _, pid := range o.kinless {
		_ = syscall.Kill(pid, syscall.SIGKILL) // nothing tells any more whose they are
	}
	for _, pid := range o.kin {
		if !alive(pid) {
			t.Fatalf("process %d is gone before there is anything to clean: the test shows nothing", pid)
		}
	}

	r := startFleet(t, func(c *Config) { c.Dir = dir })
	r.ensure(testSpec("server", nil))
	r.scale(1)
	r.one("placed", func(jobs.Allocation) bool { return true })
	for _, pid := range o.kin {
		if alive(pid) {
			t.Errorf("process %d of the last owner lives although an allocation was placed", pid)
		}
	}
}

func TestAnOrphanIsKnownByItsPIDFileToo(t *testing.T) {
	allocs := t.TempDir()
	start := func(name string, age uint64) (*exec.Cmd, string) {
		cmd := exec.Command("sleep", "1000")
		cmd.Env = []string{} // nothing tells where it belongs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ticks, ok := startTime(cmd.Process.Pid)
		if !ok {
			t.Fatal("no start time")
		}
		if err := os.Mkdir(filepath.Join(allocs, name), 0o700); err != nil {
			t.Fatal(err)
		}
		file := pidFile(filepath.Join(allocs, name), "model")
		if err := writePIDFile(file, watched{pid: cmd.Process.Pid, start: ticks + age}); err != nil {
			t.Fatal(err)
		}
		return cmd, file
	}
	orphan, orphanFile := start("orphan", 0)
	stranger, strangerFile := start("stranger", 1) // the number is the same, the process is another one
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	if err := endOrphans(t.Context(), allocs, testLogger(t)); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the orphan", ended)
	if !alive(stranger.Process.Pid) {
		t.Error("a stranger with an old pid was killed")
	}
	_ = stranger.Process.Kill()
	_ = stranger.Wait()
	for _, file := range []string{orphanFile, strangerFile} {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", filepath.Base(file), err)
		}
	}
}

func TestAGroupIsKilledOnlyIfItsLeaderIsStillTheSame(t *testing.T) {
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	start, ok := startTime(cmd.Process.Pid)
	if !ok {
		t.Fatal("no start time")
	}
	killGroup(cmd.Process.Pid, start+1)
	_, _ = in.Write([]byte("alive?\n")) // a killed one answers nothing
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Errorf("a stranger was killed: read %q, %v", line, err)
	}
	killGroup(cmd.Process.Pid, start)
	if err := cmd.Wait(); err == nil {
		t.Error("the group was not killed")
	}
}

func TestTwoOwnersOfOneDirectoryAreImpossible(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	r.scale(1)
	r.one("running", isRunning) // it has the lock

	second, err := New(Config{Dir: r.cfg.Dir})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- second.Run(t.Context()) }()
	err = await(t, "the refusal", ran)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Dir != r.cfg.Dir {
		t.Fatalf("got error %v, want one that names directory and owner", err)
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("got %q", err)
	}

	r.stop()
	startFleet(t, func(c *Config) { c.Dir = r.cfg.Dir }).stop() // now it may
}

func TestAWaitingOwnerTakesOverWhenTheFirstIsGone(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	r.scale(1)
	r.one("running", isRunning) // it has the lock

	second, err := New(Config{Dir: r.cfg.Dir, WaitForOwner: true, Env: r.cfg.Env})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- second.Run(ctx) }()
	r.stop()
	spec := testSpec("server", nil)
	ref := jobs.Ref{Namespace: spec.Namespace, Job: spec.ID, Group: spec.Groups[0].Name}
	if err := second.Ensure(ctx, spec, ref, false); err != nil {
		t.Fatal(err)
	}
	if err := second.Scale(ctx, ref, 1, "the first is gone", nil); err != nil {
		t.Fatal(err)
	}
	runs := make(chan struct{}, 1)
	go func() {
		_ = second.Watch(ctx, func(jobs.Ref) {
			if o, err := second.Observe(ctx, ref); err == nil && len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientRunning {
				select {
				case runs <- struct{}{}:
				default:
				}
			}
		})
	}()
	await(t, "an allocation of the second owner", runs)
	cancel()
	if err := await(t, "the end of the second owner", ran); err != nil {
		t.Error(err)
	}
}

func TestAnOwnerThatIsStoppedIsReplacedAndStartsNothingBeforeTheNextHasGone(t *testing.T) {
	dir := t.TempDir()
	o := startOwner(t, dir)
	next := startFleet(t, func(c *Config) { c.Dir, c.WaitForOwner = dir, true })
	next.ensure(testSpec("server", nil))
	next.scale(1)
	for _, pid := range o.pids {
		if !alive(pid) {
			t.Fatal("a replica of the owner was ended while it ran")
		}
	}
	if err := o.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a := next.one("running", isRunning)
	for _, pid := range slices.Concat(o.pids, o.kin) {
		if alive(pid) {
			t.Errorf("process %d of the stopped owner lives beside those of the next", pid)
		}
	}
	if err := o.process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	o.logged(t, "was taken over by another process")
	getPID(t, a.Address, "/") // it still serves
	ours := belonging(func(d string) bool { return strings.HasPrefix(d, filepath.Join(dir, "allocs")) })
	if len(ours) != 1 {
		t.Errorf("%d processes of replicas, want the one of the new owner", len(ours))
	}

	next.stop() // it commands no more, and the first one still does
	eventually(t, "both servers of the first owner run again", func() error {
		if ours := belonging(func(d string) bool { return strings.HasPrefix(d, filepath.Join(dir, "allocs")) }); len(ours) != 2 {
			return fmt.Errorf("%d processes of replicas, want 2", len(ours))
		}
		return nil
	})
}

func TestAnOwnerThatIsOnlySlowIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	o := startOwner(t, dir)
	held := &LockedError{}
	if _, err := LockDir(dir); !errors.As(err, &held) {
		t.Fatal(err)
	}
	if held.PID != o.process.Pid || stopped(held.PID, held.start) {
		t.Errorf("the owner %+v counts as stopped", held)
	}
	other := *held
	other.start++ // the number is the same, the process is another one
	if lock, err := takeOver(&other); lock != nil || err == nil {
		t.Errorf("taken over from another than the one that was seen to be stopped: %v", err)
	}
}

func TestAFleetThatStandsDownEndsItsReplicasAndLetsTheNextOneOwn(t *testing.T) {
	waiting := func(dir string) *running {
		return startFleet(t, func(c *Config) { c.Dir, c.WaitForOwner = dir, true })
	}
	dir := t.TempDir()
	first, second := waiting(dir), waiting(dir)
	first.ensure(testSpec("server", nil))
	first.scale(2)
	var addresses []string
	for _, a := range first.until("two running", func(o jobs.Observation) bool {
		return len(o.Allocations) == 2 && isRunning(o.Allocations[0]) && isRunning(o.Allocations[1])
	}).Allocations {
		addresses = append(addresses, a.Address)
	}
	pids := []int{getPID(t, addresses[0], "/"), getPID(t, addresses[1], "/")}
	second.ensure(testSpec("server", nil))
	second.scale(1)

	first.StandDown()
	second.one("running", isRunning)
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d outlives the command of its owner", pid)
		}
	}
	if o := first.observe(); o.Count != 0 {
		t.Errorf("count %d after it stood down, want 0", o.Count)
	}
	// It can be given the command again.
	second.StandDown()
	first.ensure(testSpec("server", nil))
	first.scale(1)
	first.until("running again", func(o jobs.Observation) bool {
		return slices.ContainsFunc(o.Allocations, func(a jobs.Allocation) bool { return isRunning(a) && a.Desired == jobs.DesiredRun })
	})
}
