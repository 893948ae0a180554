package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/pilotlight/pilotlight/internal/freeport"
)

// probePause of the tight loop that asks an engine started by hand: small
// against any start, large enough to leave the engine the CPU.
const probePause = 200 * time.Microsecond

// byHand is an engine that is started without Pilotlight.
type byHand struct {
	command   func(address string) (program string, args []string)
	probePath string
	// request is the one that Pilotlight would send to the engine.
	request func(ctx context.Context, base string) (*http.Request, error)
}

// handStart is what one start by hand took, from just before the process was
// started.
type handStart struct {
	process time.Duration // until there was a process: fork and exec
	ready   time.Duration // until the first good probe
	answer  time.Duration // until the first byte of the answer to a request sent then
}

// run starts the engine, asks it once, and ends it.
func (b byHand) run(ctx context.Context) (h handStart, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	address, err := freeAddress()
	if err != nil {
		return h, err
	}
	// A client for each start: no connection of an engine that is gone.
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	program, args := b.command(address)
	words := &tail{}
	cmd := exec.Command(program, args...)
	cmd.Env = append(own(os.Environ()), "LC_ALL=C.UTF-8") // as the job spec has it
	cmd.Stdout, cmd.Stderr = words, words
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // engines have children
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return h, fmt.Errorf("start %s by hand: %w", program, err)
	}
	h.process = time.Since(begun)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	defer func() { err = errors.Join(err, end(cmd, exited)) }()

	for !good(ctx, client, "http://"+address+b.probePath) {
		select {
		case <-ctx.Done():
			return h, fmt.Errorf("%s did not answer: %w", program, ctx.Err())
		case err := <-exited:
			exited <- err
			return h, fmt.Errorf("%s ended by itself: %v; its last words:\n%s", program, err, words)
		case <-time.After(probePause):
		}
	}
	h.ready = time.Since(begun)
	req, err := b.request(ctx, "http://"+address)
	if err != nil {
		return h, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return h, fmt.Errorf("ask %s: %w", program, err)
	}
	h.answer = time.Since(begun)
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return h, err
	}
	if resp.StatusCode != http.StatusOK {
		return h, fmt.Errorf("%s answered %s: %s", program, resp.Status, body)
	}
	return h, nil
}

// end ends the whole process group and waits for it.
func end(cmd *exec.Cmd, exited chan error) error {
	group := -cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	kill := time.AfterFunc(2*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	defer kill.Stop()
	select {
	case <-exited: // by a signal, which is no failure here
	case <-time.After(endPatience):
		return fmt.Errorf("%s does not end", cmd.Path)
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // what has outlived its parent
	return nil
}

func good(ctx context.Context, client *http.Client, at string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body) // lets the connection be used again
	_ = resp.Body.Close()
	return err == nil && resp.StatusCode == http.StatusOK
}

// freeAddress is one that nobody listens on at this moment.
func freeAddress() (string, error) {
	port, err := freeport.Take()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// asking makes the same request for every start.
func asking(method, path string, header http.Header, body []byte) func(context.Context, string) (*http.Request, error) {
	return func(ctx context.Context, base string) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header = header.Clone()
		return req, nil
	}
}
