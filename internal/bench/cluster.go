package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// cluster is a Nomad to measure over: the double, or an agent.
type cluster struct {
	name    string // "nomad double", "nomad agent"
	address string // URL
	token   string
	double  *child // nil: an agent
	client  *http.Client
}

// startDouble runs the double in a process of its own.
func startDouble(ctx context.Context, cfg Config) (*cluster, error) {
	c, err := startChild(ctx, cfg.Binary, nil, "bench", "part", PartNomad)
	if err != nil {
		return nil, err
	}
	address, err := c.field(ctx, "listening")
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return &cluster{name: "nomad double", address: "http://" + address, double: c, client: &http.Client{Timeout: time.Minute}}, nil
}

func (c *cluster) stop() error {
	if c.double == nil {
		return nil
	}
	return c.double.stop()
}

// told is what the double has been asked so far.
func (c *cluster) told(ctx context.Context) (nomadTold, error) {
	var t nomadTold
	return t, c.ask(ctx, http.MethodGet, "/bench/told", nil, &t)
}

// ask sends one call to Nomad and reads its JSON.
func (c *cluster) ask(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.address+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("X-Nomad-Token", c.token)
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, said)
	case into == nil:
		return nil
	}
	return json.Unmarshal(said, into)
}

// register is nomad job run.
func (c *cluster) register(ctx context.Context, spec string) error {
	var job json.RawMessage
	if err := c.ask(ctx, http.MethodPut, "/v1/jobs/parse", map[string]any{"JobHCL": spec, "Canonicalize": true}, &job); err != nil {
		return err
	}
	return c.ask(ctx, http.MethodPut, "/v1/jobs", map[string]any{"Job": job}, nil)
}

// scale is nomad job scale of the group "server".
func (c *cluster) scale(ctx context.Context, job string, count int) error {
	return c.ask(ctx, http.MethodPut, "/v1/job/"+url.PathEscape(job)+"/scale",
		map[string]any{"Count": count, "Target": map[string]string{"Group": "server"}, "Message": "benchmark"}, nil)
}

// purge leaves nothing of a job.
func (c *cluster) purge(ctx context.Context, job string) error {
	return c.ask(ctx, http.MethodDelete, "/v1/job/"+url.PathEscape(job)+"?purge=true", nil, nil)
}

// allocation of a job, as Nomad lists it.
type allocation struct {
	ID, JobID, ClientStatus string
}

// untilGone waits until no allocation of a job lives.
func (c *cluster) untilGone(ctx context.Context, job string) error {
	ctx, cancel := context.WithTimeout(ctx, zeroPatience)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		var list []allocation
		if err := c.ask(ctx, http.MethodGet, "/v1/job/"+url.PathEscape(job)+"/allocations", nil, &list); err != nil {
			return err
		}
		if !slices.ContainsFunc(list, func(a allocation) bool { return a.ClientStatus == "pending" || a.ClientStatus == "running" }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("allocations of %s do not end within %s", job, zeroPatience)
		case <-look.C:
		}
	}
}

// errNoRedis: there is no redis-server on PATH.
var errNoRedis = errors.New("redis-server is not installed (Debian: apt-get install redis-server)")

// startRedis runs a redis-server that keeps nothing.
func startRedis(ctx context.Context, dir string) (address string, stop func() error, err error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, errNoRedis
	}
	address, err = freeAddress()
	if err != nil {
		return "", nil, err
	}
	_, port, _ := net.SplitHostPort(address) // it comes from a listener
	cmd := exec.Command(bin, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no")
	cmd.Env = own(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	words := &tail{}
	cmd.Stdout, cmd.Stderr = words, words
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start redis-server: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	stop = func() error { return end(cmd, exited) }
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return address, stop, conn.Close()
		}
		select {
		case <-ctx.Done():
			return "", nil, errors.Join(fmt.Errorf("redis-server does not answer: %w; its last words:\n%s", err, strings.TrimSpace(words.String())), stop())
		case <-look.C:
		}
	}
}
