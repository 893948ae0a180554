package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/specs"
)

// The shipped job spec of Pilotlight itself, on a real agent: the double has no
// canaries. Of the spec only names and variables are changed.
func TestARollingUpdateOfPilotlightAsANomadJobDropsNoRequest(t *testing.T) {
	t.Parallel()
	c := agentCluster(t)
	server := startRedis(t)
	log := filepath.Join(t.TempDir(), "executions")
	model, modelJob := c.task(t, "translate", "--latency", "300ms", "--log-file", log)
	itself, spec := c.itself(t, server.URL())
	variables := func(jobs, grace string) string {
		text := ""
		for name, value := range map[string]string{
			"driver": "raw_exec", "binary": binary, "nomad": c.api, "host_network": "default",
			"deregistered": "3s", "jobs": jobs, "grace": grace,
		} {
			text += fmt.Sprintf("%s = %q\n", name, value)
		}
		return text
	}
	c.run(t, spec, variables(folder(t, map[string]string{"model.nomad.hcl": modelJob}), "20s"))
	web := &house{}
	await(t, "the web UI to be in the registry", func() error {
		list, err := c.registry(t, itself+"-web")
		if err == nil && len(list) == 1 {
			web.control = "http://" + list[0]
			return probe(web.control + "/readyz")
		}
		return errors.Join(err, fmt.Errorf("%d of them", len(list)))
	})
	a := send(t.Context(), http.MethodPut, web.control+"/api/v1/policies/translate",
		runs(model, policyOf("translate", replicas(1, 2, 8), toZero("10m"))),
		map[string]string{"Content-Type": "text/hcl", "If-None-Match": "*"})
	if a.err != nil || a.status/100 != 2 {
		t.Fatalf("the policy: %v %d %s", a.err, a.status, a.body)
	}
	c.deployed(t, itself, 0)
	web.awaitService(t, "translate", "ready", ready(1))
	b := &balancer{registry: func() ([]string, error) { return c.registry(t, itself) }}
	b.start(t)
	steady := (&traffic{}).start(t, b.translate)
	await(t, "traffic", func() error {
		if n := steady.sent.Load(); n < 20 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	old := c.allocations(t, itself)

	began := time.Now()
	// Other arguments for each of the three groups.
	c.run(t, spec, variables(folder(t, map[string]string{"model.nomad.hcl": modelJob}), "21s"))
	c.deployed(t, itself, 1)
	await(t, "the old version to be gone", func() error {
		for _, a := range c.allocations(t, itself) {
			if slices.ContainsFunc(old, func(o placed) bool { return o.ID == a.ID }) && a.ClientStatus != "complete" {
				return fmt.Errorf("%s is %s", a.Name, a.ClientStatus)
			}
		}
		return nil
	})
	t.Logf("rolled in %v; %d requests went to another activator after a refusal", since(began), b.again.Load())
	steady.unbroken(t)
	finishedOnce(t, executions(t, log), 1)
	c.launchedOnce(t, model, 1)
	await(t, "the web UI to be in the registry", func() error {
		list, err := c.registry(t, itself+"-web")
		if err != nil || len(list) != 1 {
			return errors.Join(err, fmt.Errorf("%d of them", len(list)))
		}
		web.control = "http://" + list[0]
		return nil
	})
	web.awaitService(t, "translate", "ready", func(st jobs.Status) bool { return ready(1)(st) && st.PolicyVersion == 1 })
}

// itself is the shipped job spec of Pilotlight under a name of its own, with what
// has to be there before its first start.
func (c *cluster) itself(t *testing.T, redis string) (id, spec string) {
	t.Helper()
	src, err := fs.ReadFile(specs.FS, "pilotlight.nomad.hcl")
	if err != nil {
		t.Fatal(err)
	}
	id, _ = c.task(t, "pilotlight")
	spec = strings.NewReplacer(`job "pilotlight"`, `job "`+id+`"`, "nomad/jobs/pilotlight", "nomad/jobs/"+id,
		`= "pilotlight"`, `= "`+id+`"`, `= "pilotlight-`, `= "`+id+`-`).Replace(string(src))
	path := "/v1/var/nomad/jobs/" + id
	c.must(t, http.MethodPut, path, map[string]any{"Path": "nomad/jobs/" + id, "Items": map[string]string{"redis": redis}}, nil)
	t.Cleanup(func() { _ = c.ask(context.WithoutCancel(t.Context()), http.MethodDelete, path, nil, nil) })
	if c.token != "" {
		c.must(t, http.MethodPost, "/v1/acl/policy/"+id, map[string]any{"Name": id, "Rules": leastPolicy(t),
			"JobACL": map[string]string{"Namespace": "default", "JobID": id, "Group": "scaler", "Task": "pilotlight"}}, nil)
		t.Cleanup(func() {
			_ = c.ask(context.WithoutCancel(t.Context()), http.MethodDelete, "/v1/acl/policy/"+id, nil, nil)
		})
	}
	return id, spec
}

// registry lists the addresses of a service in Nomad's.
func (c *cluster) registry(t *testing.T, service string) ([]string, error) {
	var list []struct {
		Address string
		Port    int
	}
	err := c.ask(context.WithoutCancel(t.Context()), http.MethodGet, "/v1/service/"+service, nil, &list)
	var addresses []string
	for _, s := range list {
		addresses = append(addresses, net.JoinHostPort(s.Address, strconv.Itoa(s.Port)))
	}
	return addresses, err
}

// deployed waits until a version of a job has been rolled out.
func (c *cluster) deployed(t *testing.T, id string, version int) {
	t.Helper()
	await(t, fmt.Sprintf("version %d of %s to be rolled out", version, id), func() error {
		var d struct {
			Status, StatusDescription string
			JobVersion                int
		}
		if err := c.ask(t.Context(), http.MethodGet, "/v1/job/"+id+"/deployment", nil, &d); err != nil {
			return err
		}
		if d.JobVersion != version || d.Status != "successful" {
			return fmt.Errorf("version %d is %s: %s", d.JobVersion, d.Status, d.StatusDescription)
		}
		return nil
	})
}

// balancer is what the spec says of the proxy in front of the activators: it
// follows the registry, and sends again what was refused a connection or answered
// 503.
type balancer struct {
	registry func() ([]string, error)
	list     atomic.Pointer[[]string]
	turn     atomic.Int64
	again    atomic.Int64
}

func (b *balancer) start(t *testing.T) {
	t.Helper()
	look := func() {
		if list, err := b.registry(); err == nil && len(list) > 0 {
			b.list.Store(&list)
		}
	}
	look()
	if b.list.Load() == nil {
		t.Fatal("no activator is in the registry")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

func (b *balancer) translate(ctx context.Context, text string) answer {
	var a answer
	for range 4 {
		list := *b.list.Load()
		at := list[int(b.turn.Add(1))%len(list)]
		a = send(ctx, http.MethodPost, "http://"+at+"/translate", wanted(text), nil)
		refused := errors.Is(a.err, syscall.ECONNREFUSED) || a.err == nil && a.status == http.StatusServiceUnavailable
		if !refused {
			return a
		}
		b.again.Add(1)
	}
	return a
}
