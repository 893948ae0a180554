package redisdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server child process with an append-only file, reached
// through a socket in its own folder: nobody else on the machine can.
type Server struct {
	bin string
	dir string
	log *slog.Logger
}

// ErrNoServer: there is no redis-server on PATH.
var ErrNoServer = errors.New("no redis-server on PATH")

// NewServer keeps its data in dir, which must be the caller's alone (see
// localfleet.LockDir): a second server there would take the first one's socket
// and write into its file. ErrNoServer if none is installed.
func NewServer(dir string, log *slog.Logger) (*Server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNoServer
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("redis data: %w", err)
	}
	return &Server{bin: bin, dir: dir, log: log}, nil
}

// maxSocketPath is what a sockaddr_un holds on every Unix.
const maxSocketPath = 100

// Run starts the server, calls ready with a client of it, and stops it when ctx
// ends; it returns earlier, with an error, if the server ends by itself.
func (s *Server) Run(ctx context.Context, ready func(redis.UniversalClient)) error {
	// A name of its own: a server that is still going must not take ours along.
	name := fmt.Sprintf("redis-%d.sock", os.Getpid())
	if old, err := filepath.Glob(filepath.Join(s.dir, "redis*.sock")); err == nil {
		for _, path := range old {
			_ = os.Remove(path)
		}
	}
	socket := filepath.Join(s.dir, name)
	if len(socket) > maxSocketPath {
		short, err := os.MkdirTemp("", "pilotlight-redis-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(short) }()
		socket = filepath.Join(short, name)
	}
	logFile, err := os.OpenFile(filepath.Join(s.dir, "redis.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()
	cmd := exec.Command(s.bin, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700",
		"--dir", s.dir, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no")
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = dieWithParent()

	exited := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the child dies with the thread that started it: keep that thread
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		exited <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	o := &redis.Options{Network: "unix", Addr: socket}
	limits(o)
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	if err := s.await(ctx, client, exited); err != nil {
		_ = cmd.Process.Kill()
		return err
	}
	ready(client)
	select {
	case err := <-exited:
		return fmt.Errorf("redis-server ended by itself (%v); its log: %s", err, logFile.Name())
	case <-ctx.Done():
	}
	_ = cmd.Process.Signal(os.Interrupt)
	select {
	case <-exited:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-exited
	}
	return nil
}

// await waits until the server has read its file and answers.
func (s *Server) await(ctx context.Context, client redis.UniversalClient, exited <-chan error) error {
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		if err := client.Ping(ctx).Err(); err == nil {
			return nil
		}
		select {
		case err := <-exited:
			return fmt.Errorf("redis-server did not start (%v); its log: %s", err, filepath.Join(s.dir, "redis.log"))
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("redis-server does not answer after 30s; its log: %s", filepath.Join(s.dir, "redis.log"))
		case <-time.After(10 * time.Millisecond):
		}
	}
}
