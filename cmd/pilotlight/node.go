package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/activator"
	"github.com/pilotlight/pilotlight/activator/front"
	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/nomad"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler"
	"github.com/pilotlight/pilotlight/scaler/history"
	"github.com/pilotlight/pilotlight/scaler/lease"
	"github.com/pilotlight/pilotlight/web"
)

// Roles of a node.
const (
	roleActivator = "activator"
	roleScaler    = "scaler"
	roleWeb       = "web"
)

var allRoles = []string{roleActivator, roleScaler, roleWeb}

// fleet is what a node's scaler runs replicas on, with a life of its own if it
// has one.
type fleet struct {
	scaler.Fleet
	run     func(context.Context) error // nil: none
	metrics prometheus.Collector        // nil: none
}

// node is one process: its roles over one Redis.
type node struct {
	roles        []string
	redis        redis.UniversalClient
	fleet        fleet            // for the scaler role
	inventory    *nomad.Inventory // what room Nomad's cluster has, for the web role; nil: nobody to ask
	specs        jobSpecs
	log          *slog.Logger
	addrs        addresses
	bounds       bounds
	dev          bool
	region       string
	waitReplicas int           // --redis-wait-replicas
	prometheus   *url.URL      // asked by the scaler role; nil: none
	grace        time.Duration // for requests in flight when told to stop
	warnings     func() []string
	started      func(addresses) // called when requests are understood
}

// addresses of the three listeners.
type addresses struct {
	Data    string `default:"127.0.0.1:8080" help:"Data plane: clients' requests." placeholder:"ADDR"`
	Control string `default:"127.0.0.1:8081" help:"Control plane and web UI." placeholder:"ADDR"`
	Metrics string `default:"127.0.0.1:8082" help:"Prometheus metrics." placeholder:"ADDR"`
}

func (n *node) has(role string) bool { return slices.Contains(n.roles, role) }

// run opens the listeners, runs every role, and ends in order when ctx does: not
// ready, no new requests, those in flight finish, the other listeners, loops,
// lease.
func (n *node) run(ctx context.Context) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	redisUp := prometheus.NewGauge(prometheus.GaugeOpts{Name: dependencyUp, Help: dependencyUpHelp, ConstLabels: prometheus.Labels{"dependency": "redis"}})
	reg.MustRegister(redisUp)
	if n.fleet.metrics != nil {
		reg.MustRegister(n.fleet.metrics)
	}

	store := policies.NewRedis(n.redis)
	hist := history.New(n.redis)
	life := &lifecycle{log: n.log}
	ready := &health{}
	var checks []func(context.Context) error
	checks = append(checks, func(ctx context.Context) error {
		if err := n.redis.Ping(ctx).Err(); err != nil {
			redisUp.Set(0)
			return fmt.Errorf("Redis does not answer: %w", err)
		}
		redisUp.Set(1)
		return nil
	})
	ready.ready = func(ctx context.Context) error {
		for _, check := range checks {
			if err := check(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	defer life.close()

	if n.has(roleActivator) {
		l, err := listen("data plane", "data", n.addrs.Data)
		if err != nil {
			return err
		}
		n.addrs.Data = l.Addr().String()
		var act *activator.Activator // made before the queue runs anything
		q, err := queue.New(queue.Config{Redis: n.redis, Logger: n.log, WaitReplicas: n.waitReplicas, Address: n.addrs.Data, Ask: activator.AskPeer,
			Execute: func(ctx context.Context, e *queue.Execution) error { return act.Execute(ctx, e) }})
		if err != nil {
			return err
		}
		act, err = activator.New(activator.Config{Policies: store, Queue: q, Statuses: newStatuses(hist, n.log),
			Registerer: reg, Logger: n.log, MaxBuffered: int64(n.bounds.MaxBodyMiB) << 20})
		if err != nil {
			return err
		}
		checks = append(checks, func(context.Context) error {
			if !act.Ready() {
				return errors.New("policies have not been read yet")
			}
			return nil
		})
		life.loop(q.Run)
		life.loop(act.Run)
		conns := front.NewConnections(front.Config{Max: n.bounds.connections()})
		conns.Register(reg)
		life.first(l, ready.around(act), conns, act.StopHolding)
	}
	if n.has(roleWeb) {
		l, err := listen("control plane", "control", n.addrs.Control)
		if err != nil {
			return err
		}
		n.addrs.Control = l.Addr().String()
		ids := make([]string, 0, len(n.specs))
		for id := range n.specs {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		asked, err := queue.New(queue.Config{Redis: n.redis, Logger: n.log})
		if err != nil {
			return err
		}
		requests := insight{ledger: queue.NewLedger(n.redis, n.log), queue: asked, history: hist}
		cfg := web.Config{Services: hist, Policies: store, Requests: requests, Recordings: hist, Shadows: hist, GPUs: n.gpus, Specs: ids, Version: version, Logger: n.log,
			Dev: n.dev, DataURL: "http://" + n.addrs.Data, Warnings: n.warnings}
		if n.inventory != nil {
			cfg.Room = n.room
		}
		ui, err := web.New(cfg)
		if err != nil {
			return err
		}
		life.loop(ui.Run)
		life.serve(l, ready.around(ui.Handler()))
	}
	if n.has(roleScaler) {
		s, err := scaler.New(scaler.Config{Fleet: n.fleet.Fleet, Ledger: queue.NewLedger(n.redis, n.log), Policies: store,
			Specs: n.specs.find, History: hist, Lease: lease.New(n.redis, "scaler", n.log), Logger: n.log, Registry: reg, Region: n.region,
			Prometheus: n.prometheus})
		if err != nil {
			return err
		}
		if n.fleet.run != nil {
			life.last(n.fleet.run)
		}
		life.loop(s.Run)
	}
	l, err := listen("metrics", "metrics", n.addrs.Metrics)
	if err != nil {
		return err
	}
	n.addrs.Metrics = l.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	life.serve(l, ready.around(mux))

	life.loop(ready.watch)

	life.loop(func(ctx context.Context) error { return n.greetWhenReady(ctx, ready) })
	return life.run(ctx, &ready.stopping, n.grace)
}

// greetWhenReady says where the node listens as soon as its first request would
// be understood.
func (n *node) greetWhenReady(ctx context.Context, ready *health) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ready.ready(ctx) != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	if n.started != nil {
		n.started(n.addrs)
	}
	<-ctx.Done()
	return nil
}
