package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// redisCluster is three masters that share the slots out.
type redisCluster []*redisServer

func startRedisCluster(t *testing.T) redisCluster {
	t.Helper()
	ctx := t.Context()
	var c redisCluster
	var buses []int // where its servers talk to each other
	for i := range 3 {
		buses = append(buses, freePort(t))
		s := startRedis(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(buses[i]), "--cluster-node-timeout", "15000")
		c = append(c, s)
		first, last := i*5462, min((i+1)*5462, 16384)-1
		for _, args := range [][]any{
			{"CLUSTER", "ADDSLOTSRANGE", first, last},
			{"CLUSTER", "SET-CONFIG-EPOCH", i + 1},
			{"CLUSTER", "MEET", "127.0.0.1", c[0].port, buses[0]},
		} {
			if err := s.Client.Do(ctx, args...).Err(); err != nil {
				t.Fatalf("%v: %v", args, err)
			}
		}
	}
	for _, s := range c {
		await(t, "the cluster to be whole", func() error {
			info, err := s.Client.ClusterInfo(ctx).Result()
			for _, want := range []string{"cluster_state:ok", "cluster_known_nodes:3", "cluster_slots_ok:16384"} {
				if !strings.Contains(info, want) {
					return errors.Join(err, fmt.Errorf("no %s in %s", want, info))
				}
			}
			return err
		})
	}
	return c
}

// URL for --redis; one that it names is enough to find the others.
func (c redisCluster) URL() string { return "redis+cluster://" + c[0].address() + "," + c[1].address() }

// watchedRedis is a primary with replicas, and a Sentinel that replaces it.
type watchedRedis struct {
	primary  *redisServer
	replicas []*redisServer
	sentinel *redisServer
}

func startWatchedRedis(t *testing.T, replicas int) *watchedRedis {
	t.Helper()
	ctx := t.Context()
	w := &watchedRedis{primary: startRedis(t, "--repl-diskless-sync-delay", "0")}
	for range replicas {
		r := startRedis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(w.primary.port))
		w.replicas = append(w.replicas, r)
		await(t, "the replica to follow", func() error {
			info, err := r.Client.Info(ctx, "replication").Result()
			if !strings.Contains(info, "master_link_status:up") {
				return errors.Join(err, errors.New(info))
			}
			return nil
		})
	}
	w.sentinel = newRedis(t)
	file := filepath.Join(w.sentinel.dir, "sentinel.conf")
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\nsentinel parallel-syncs main 2\n",
		w.sentinel.port, w.sentinel.dir, w.primary.port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	w.sentinel.proc = startProcess(t, nil, w.sentinel.bin, file, "--sentinel")
	await(t, "Sentinel to know the replicas", func() error {
		known, err := w.sentinel.Client.Do(ctx, "SENTINEL", "REPLICAS", "main").Slice()
		if len(known) != replicas {
			return errors.Join(err, fmt.Errorf("it knows %d of %d", len(known), replicas))
		}
		return err
	})
	return w
}

// URL for --redis.
func (w *watchedRedis) URL() string { return "redis+sentinel://" + w.sentinel.address() + "/main" }

// promoted waits until Sentinel has made another server the primary.
func (w *watchedRedis) promoted(t *testing.T) *redisServer {
	t.Helper()
	var found *redisServer
	await(t, "a replica to be promoted", func() error {
		for _, r := range w.replicas {
			if info, err := r.Client.Info(context.WithoutCancel(t.Context()), "replication").Result(); err == nil && strings.Contains(info, "role:master") {
				found = r
				return nil
			}
		}
		return errors.New("all are replicas still")
	})
	return found
}
