package e2e

import (
	"context"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/internal/freeport"
)

// redisServer is a redis-server with an append-only file that a test may kill,
// stop and start again on the same port and data.
type redisServer struct {
	bin      string
	dir      string
	port     int
	settings []string // beside those of every one
	proc     *process
	// Client of the test's own.
	Client *redis.Client
}

// startRedis skips the test where no redis-server is installed. Settings are as on
// its command line; they win over those of start.
func startRedis(t *testing.T, settings ...string) *redisServer {
	t.Helper()
	s := newRedis(t, settings...)
	s.start(t)
	return s
}

func newRedis(t *testing.T, settings ...string) *redisServer {
	t.Helper()
	skipIfShort(t)
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is missing (Debian: apt-get install redis-server)")
	}
	s := &redisServer{bin: bin, dir: t.TempDir(), port: freePort(t), settings: settings}
	s.Client = redis.NewClient(&redis.Options{
		Addr:                     s.address(),
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = s.Client.Close() })
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (s *redisServer) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL for --redis.
func (s *redisServer) URL() string { return "redis://" + s.address() }

// start runs the server, anew or for the first time, until it answers.
func (s *redisServer) start(t *testing.T) {
	t.Helper()
	s.proc = startProcess(t, nil, s.bin, append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"}, s.settings...)...)
	await(t, "redis-server to answer", func() error {
		if err := s.proc.running(); err != nil {
			t.Fatalf("redis-server: %v\n%s", err, s.proc.said)
		}
		return s.Client.Ping(context.WithoutCancel(t.Context())).Err()
	})
}

// stop is an orderly end: what was acknowledged is in the file.
func (s *redisServer) stop(t *testing.T) {
	t.Helper()
	s.proc.signal(syscall.SIGTERM)
	s.proc.exit(t)
}

// kill is kill -9.
func (s *redisServer) kill() { s.proc.kill() }

// freeze lets the server keep its connections and answer nothing; thaw ends that.
func (s *redisServer) freeze() { s.proc.signal(syscall.SIGSTOP) }
func (s *redisServer) thaw()   { s.proc.signal(syscall.SIGCONT) }

// tickets that wait in Redis for a service.
func (s *redisServer) tickets(t *testing.T, service string) []string {
	t.Helper()
	keys, err := s.Client.Keys(t.Context(), "pl:{"+service+"}:ticket:*").Result()
	if err != nil {
		t.Fatalf("read the tickets: %v", err)
	}
	return keys
}
