package redisdb

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// realRedis starts a redis-server of the test's own with further settings, and
// returns its URL.
func realRedis(t *testing.T, settings ...string) string {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	if len(socket) > maxSocketPath {
		t.Skip("the test's folder has too long a name for a socket")
	}
	cmd := exec.Command(bin, append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir}, settings...)...)
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	url := "unix://" + socket
	client, err := Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := (&Server{dir: dir}).await(t.Context(), client, exited); err != nil && !strings.Contains(err.Error(), "NOAUTH") {
		t.Fatal(err)
	}
	return url
}

func examined(t *testing.T, settings ...string) Facts {
	t.Helper()
	client, err := Open(realRedis(t, settings...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	facts, err := Checkup(t.Context(), client)
	if err != nil || len(facts) != 1 {
		t.Fatalf("got %+v, %v", facts, err)
	}
	return facts[0]
}

func TestACheckupNamesThePersistenceInForce(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings []string
		want     Keeps
		words    string
	}{
		{"always", []string{"--appendonly", "yes", "--appendfsync", "always"}, KeepsAll, "nothing that was acknowledged is lost"},
		{"everysec", []string{"--appendonly", "yes", "--appendfsync", "everysec"}, KeepsSeconds, "about 2 s"},
		{"no", []string{"--appendonly", "yes", "--appendfsync", "no"}, KeepsLate, "about 30 s"},
		{"snapshots", []string{"--appendonly", "no", "--save", "60 1"}, KeepsSnapshots, "since the last snapshot"},
		{"nothing", []string{"--appendonly", "no", "--save", ""}, KeepsNothing, "a restart loses every request"},
		{"settings hidden", []string{"--appendonly", "yes", "--rename-command", "CONFIG", ""}, KeepsUnknown, "not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := examined(t, c.settings...)
			if got := f.Keeps(); got != c.want {
				t.Errorf("keeps %d, want %d: %+v", got, c.want, f)
			}
			if !strings.Contains(f.Promise(0), c.words) {
				t.Errorf("promises %q, which does not say %q", f.Promise(0), c.words)
			}
		})
	}
}

func TestACheckupFindsWhatEvictsAndWhatRefusesWrites(t *testing.T) {
	f := examined(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	if !f.Evicts() || f.MaxMemory != 100<<20 {
		t.Errorf("evicts %v, limit %d: %+v", f.Evicts(), f.MaxMemory, f)
	}
	if f.WriteError != nil || f.SubscribeError != nil {
		t.Errorf("a plain server refused: %v, %v", f.WriteError, f.SubscribeError)
	}
	if f = examined(t, "--min-replicas-to-write", "1"); f.WriteError == nil || *f.MinReplicas != 1 {
		t.Errorf("a server without the replicas that it wants: write error %v", f.WriteError)
	}
	if f = examined(t, "--rename-command", "EVALSHA", "", "--rename-command", "EVAL", ""); f.WriteError == nil {
		t.Error("a server without Lua: no error")
	}
}

func TestACheckupLeavesNothingBehind(t *testing.T) {
	client, err := Open(realRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	facts, err := Checkup(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	if ahead := facts[0].Ahead; ahead.Abs() > time.Minute {
		t.Errorf("the clock of this machine is %s ahead of itself", ahead)
	}
}

func TestACheckupOfNobodyIsAnErrorInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	client := redis.NewUniversalClient(universal(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}}))
	defer func() { _ = client.Close() }()
	if _, err := Checkup(ctx, client); err == nil || ctx.Err() != nil {
		t.Errorf("got %v", err)
	}
}

func TestVersionsAreJudgedByWhatTheScriptsNeed(t *testing.T) {
	for version, want := range map[string]string{
		"7.0.15": "true <nil>", "8.0": "true <nil>", "": "true <nil>", "6.2.1": "false <nil>",
		"5.0.0": "false <nil>", "4.0.9": "false " + ErrOldVersion.Error(),
	} {
		ok, err := Facts{Version: version}.Suits()
		if got := fmt.Sprint(ok, " ", err); got != want {
			t.Errorf("%q: got %s, want %s", version, got, want)
		}
	}
}
