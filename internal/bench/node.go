package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// How long a node may take for one step of a wake.
const (
	zeroPatience  = 20 * time.Second
	storyPatience = 5 * time.Second
	lookEvery     = 10 * time.Millisecond
)

// node is a Pilotlight process: as dev runs it, every role in one and replicas as
// its child processes, or as serve does, with roles over a Nomad.
type node struct {
	*child
	service                string // that /translate is routed to
	data, control, metrics string // URLs; metrics of serve only
	last                   string // replica that answered the last wake
	client                 *http.Client
	woken                  func(context.Context) error // called after each wake; nil: nothing is
}

// startNode starts dev with its state in dir; args and env as far as they differ.
func startNode(ctx context.Context, cfg Config, service, dir string, env []string, args ...string) (*node, error) {
	args = append([]string{"dev", "--state", dir,
		"--data", "127.0.0.1:0", "--control", "127.0.0.1:0", "--metrics", "127.0.0.1:0"}, args...)
	c, err := startChild(ctx, cfg.Binary, env, args...)
	if err != nil {
		return nil, err
	}
	n := &node{child: c, service: service, client: &http.Client{Timeout: time.Minute}}
	if n.data, err = c.field(ctx, "requests"); err == nil {
		n.control, err = c.field(ctx, "web UI")
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	n.control = strings.TrimSuffix(n.control, "/")
	return n.whenReady(ctx, n.data)
}

// startServe starts serve with these roles, over a Redis and a Nomad that are
// there.
func startServe(ctx context.Context, cfg Config, service, roles string, args ...string) (*node, error) {
	n := &node{service: service, client: &http.Client{Timeout: time.Minute}}
	args = append([]string{"serve", "--role", roles}, args...)
	for _, l := range []struct {
		flag string
		url  *string
	}{{"--data", &n.data}, {"--control", &n.control}, {"--metrics", &n.metrics}} {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		*l.url = "http://" + address
		args = append(args, l.flag, address)
	}
	var err error
	if n.child, err = startChild(ctx, cfg.Binary, nil, args...); err != nil {
		return nil, err
	}
	return n.whenReady(ctx, n.metrics)
}

// whenReady waits until a listener says that all roles can work; a node that
// never can is stopped.
func (n *node) whenReady(ctx context.Context, listener string) (*node, error) {
	if err := n.until(ctx, startPatience, "ready", func() (bool, error) {
		return n.get(ctx, listener+"/readyz", nil) == nil, nil
	}); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// wake is one cold start as its client and the node saw it.
type wake struct {
	sent    time.Time
	answer  time.Duration // from sent to the first byte of the answer
	replica string
	story   jobs.ColdStart
}

// wake sends a translation to the service at zero and returns the story of the
// cold start that answered it.
func (n *node) wake(ctx context.Context) (wake, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.data+"/translate", bytes.NewReader(translation(warmBody)))
	if err != nil {
		return wake{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	w := wake{sent: time.Now()}
	resp, err := n.client.Do(req)
	if err != nil {
		return wake{}, err
	}
	w.answer = time.Since(w.sent)
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return wake{}, err
	case resp.StatusCode != http.StatusOK:
		return wake{}, fmt.Errorf("a held translation was answered with %s: %s", resp.Status, body)
	case resp.Header.Get("Pilotlight-Cold-Start") != "true":
		return wake{}, errors.New("a translation to a service at zero was not a cold start")
	}
	w.replica = resp.Header.Get("Pilotlight-Replica")
	if w.replica == n.last {
		return wake{}, fmt.Errorf("replica %s answered twice: the service was not at zero", w.replica)
	}
	n.last = w.replica
	err = n.until(ctx, storyPatience, "telling its cold start", func() (bool, error) {
		var stories []jobs.ColdStart
		err := n.get(ctx, n.control+"/api/v1/cold-starts?limit=1&service="+url.QueryEscape(n.service), &stories)
		if err != nil || len(stories) == 0 || stories[0].Replica != w.replica {
			return false, err
		}
		w.story = stories[0]
		return true, nil
	})
	return w, err
}

// sleep sends the service back to zero and waits until its processes are gone.
// The status follows the replicas with a little delay: it must have seen them,
// or it would still be the zero from before the wake.
func (n *node) sleep(ctx context.Context) error {
	if err := n.until(ctx, storyPatience, "telling that its replica is ready", func() (bool, error) {
		st, err := n.status(ctx)
		return st.Replicas.Ready > 0, err
	}); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.serviceURL()+"/sleep", strings.NewReader(`{"reason":"benchmark"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := n.do(req, nil); err != nil {
		return err
	}
	return n.untilZero(ctx)
}

func (n *node) untilZero(ctx context.Context) error {
	return n.until(ctx, zeroPatience, "at zero", func() (bool, error) {
		st, err := n.status(ctx)
		return st.State == jobs.StateZero, err
	})
}

func (n *node) serviceURL() string {
	return n.control + "/api/v1/services/" + url.PathEscape(n.service)
}

func (n *node) status(ctx context.Context) (jobs.Status, error) {
	var st jobs.Status
	err := n.get(ctx, n.serviceURL(), &st)
	return st, err
}

// until looks again and again whether something is so.
func (n *node) until(ctx context.Context, patience time.Duration, what string, so func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		ok, err := so()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the node is not %s within %s", what, patience), err)
		case <-look.C:
		}
	}
}

func (n *node) get(ctx context.Context, at string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	return n.do(req, into)
}

// do sends a request to the control plane and reads its JSON.
func (n *node) do(req *http.Request, into any) error {
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}
