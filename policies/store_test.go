package policies_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/policies/storetest"
)

func TestMemoryIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) (storetest.Store, storetest.Store) {
		s := policies.NewMemory()
		return s, s
	})
}

// client of a Redis that is dialled like this; it ends with the test.
func client(t *testing.T, dial func() (net.Conn, error)) redis.UniversalClient {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:                     "127.0.0.1:6379",
		Dialer:                   func(context.Context, string, string) (net.Conn, error) { return dial() },
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRedisIsAStoreOnMiniredis(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (storetest.Store, storetest.Store) {
		server := miniredis.RunT(t)
		dial := func() (net.Conn, error) { return net.Dial("tcp", server.Addr()) }
		return policies.NewRedis(client(t, dial)), policies.NewRedis(client(t, dial))
	})
}

func TestRedisIsAStoreOnARealServer(t *testing.T) {
	socket := startServer(t)
	dial := func() (net.Conn, error) { return net.Dial("unix", socket) }
	storetest.Run(t, func(t *testing.T) (storetest.Store, storetest.Store) {
		c := client(t, dial)
		if err := c.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return policies.NewRedis(c), policies.NewRedis(client(t, dial))
	})
}

// startServer starts a redis-server that ends with the test and returns its
// socket: no port that somebody else could take in between.
func startServer(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server on PATH: the store is tested on miniredis only")
	}
	dir, err := os.MkdirTemp("", "pl") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "redis.sock")
	server := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir)
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "eady to accept connections") {
			return socket
		}
	}
	t.Fatal("redis-server ended before it was ready")
	return ""
}

// world is a bubble's Redis whose connections can be cut.
type world struct {
	server *miniredis.Miniredis

	mu    sync.Mutex
	conns []net.Conn
	down  bool
}

func (w *world) dial() (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, net.ErrClosed
	}
	conn, err := w.server.Dial()
	w.conns = append(w.conns, conn)
	return conn, err
}

func (w *world) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, conn := range w.conns {
		conn.Close()
	}
	w.conns = nil
}

func (w *world) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

// inWorld runs a test in a bubble with a watched store. reports returns how
// often the watcher has been told of a change since it was asked last.
func inWorld(t *testing.T, test func(t *testing.T, w *world, editor *policies.Redis, direct redis.UniversalClient, reports func() int)) {
	synctest.Test(t, func(t *testing.T) {
		server := miniredis.NewMiniRedis()
		server.ClockTTL(true)
		defer server.Close()
		w := &world{server: server}
		ctx, cancel := context.WithCancel(t.Context())
		var told atomic.Int64
		ended := make(chan error)
		watched := client(t, w.dial)
		go func() { ended <- policies.NewRedis(watched).Watch(ctx, func() { told.Add(1) }) }()
		synctest.Wait()
		direct := client(t, server.Dial)
		test(t, w, policies.NewRedis(direct), direct, func() int {
			synctest.Wait()
			return int(told.Swap(0))
		})
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch ended with %v, want nil", err)
		}
	})
}

const text = "policy \"a\" {\n  job = \"j\"\n  route { models = [\"m\"] }\n}\n"

func TestAWatcherHearsAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, _ *world, editor *policies.Redis, _ redis.UniversalClient, reports func() int) {
		if reports() == 0 {
			t.Error("nothing was reported at the start")
		}
		start := time.Now()
		if _, err := editor.Put(t.Context(), "a", text, 0, "ada", ""); err != nil {
			t.Fatal(err)
		}
		if n := reports(); n != 1 {
			t.Errorf("%d reports of one change, want 1", n)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute)
		if n := reports(); n != 0 {
			t.Errorf("%d reports of no change", n)
		}
	})
}

func TestAWatcherFindsAMissedMessageWithinASecond(t *testing.T) {
	inWorld(t, func(t *testing.T, _ *world, _ *policies.Redis, direct redis.UniversalClient, reports func() int) {
		reports()
		if err := direct.Incr(t.Context(), "pl:{policies}:counter").Err(); err != nil {
			t.Fatal(err)
		}
		if n := reports(); n != 0 {
			t.Fatalf("%d reports of a change that nobody announced yet", n)
		}
		time.Sleep(time.Second)
		if n := reports(); n != 1 {
			t.Errorf("%d reports within a second, want 1", n)
		}
	})
}

func TestAWatcherBelievesAMessageWhateverTheCounterSays(t *testing.T) {
	inWorld(t, func(t *testing.T, _ *world, _ *policies.Redis, direct redis.UniversalClient, reports func() int) {
		reports()
		// As after a failover that lost one change, when the next one is made.
		if err := direct.Publish(t.Context(), "pl:{policies}:changed", "a").Err(); err != nil {
			t.Fatal(err)
		}
		if n := reports(); n != 1 {
			t.Errorf("%d reports, want 1", n)
		}
	})
}

func TestAWatcherOutlivesRedis(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, editor *policies.Redis, _ redis.UniversalClient, reports func() int) {
		time.Sleep(2 * time.Second)
		reports()
		w.cut()
		if _, err := editor.Put(t.Context(), "a", text, 0, "ada", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := reports(); n != 0 {
			t.Fatalf("%d reports while Redis cannot be reached", n)
		}
		w.mend()
		time.Sleep(5 * time.Second)
		if n := reports(); n == 0 {
			t.Error("no report after Redis came back")
		}
		if _, err := editor.Put(t.Context(), "a", text, 1, "ada", ""); err != nil {
			t.Fatal(err)
		}
		if n := reports(); n != 1 {
			t.Errorf("%d reports at once of a change after the reconnection, want 1: the subscription is not back", n)
		}
	})
}
