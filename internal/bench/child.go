package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long a child may take.
const (
	startPatience = 20 * time.Second // to say where it listens
	endPatience   = 20 * time.Second // to end when asked
)

// child is a process of this binary that says on its standard output where it
// listens.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string // of its standard output, of which it writes few; closed at its end
	errors *tail
	exited chan error // one value, when everything of it has been read
}

// startChild starts the binary. It is told to end when ctx ends.
func startChild(ctx context.Context, binary string, env []string, args ...string) (*child, error) {
	c := &child{lines: make(chan string, 64), errors: &tail{}, exited: make(chan error, 1)}
	c.cmd = exec.CommandContext(ctx, binary, args...)
	c.cmd.Env = append(own(os.Environ()), env...)
	c.cmd.Stderr = c.errors
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = endPatience
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in = in
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start pilotlight %s: %w", args[0], err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case c.lines <- lines.Text():
			case <-ctx.Done():
			}
		}
		close(c.lines)
		c.exited <- c.cmd.Wait()
	}()
	return c, nil
}

// own is the environment without the settings of a pilotlight, which would
// change what the children are told by flags.
func own(environ []string) []string {
	var out []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "PILOTLIGHT_") {
			out = append(out, e)
		}
	}
	return out
}

// line waits for the next line of output.
func (c *child) line(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	select {
	case line, ok := <-c.lines:
		if !ok {
			return "", fmt.Errorf("a child ended by itself; its last words:\n%s", c.errors)
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("a child says nothing: %w; its last words:\n%s", ctx.Err(), c.errors)
	}
}

// field waits for a line whose first word is name, and returns the rest.
func (c *child) field(ctx context.Context, name string) (string, error) {
	for {
		line, err := c.line(ctx)
		if err != nil {
			return "", err
		}
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return strings.TrimSpace(rest), nil
		}
	}
}

// stop ends the child: by the end of its standard input, and a signal for those
// that do not read it. It waits for its end.
func (c *child) stop() error {
	_ = c.in.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // an error: it has ended
	kill := time.AfterFunc(endPatience, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	for range c.lines { // so that it is not stuck writing
	}
	err := <-c.exited
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("a child failed: %w; its last words:\n%s", err, c.errors)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
