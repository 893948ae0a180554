package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// replicationPatience is how long Redis' replicas have to take a durable request;
// less than Config.Timeout, so that what is missing can be said.
const replicationPatience = time.Second

// ReplicasError says that a durable request was not accepted, because too few
// replicas of Redis took it in time. It is an ErrStoreUnavailable.
type ReplicasError struct {
	Got, Wanted int // Wanted: Config.WaitReplicas
}

func (e *ReplicasError) Error() string {
	return fmt.Sprintf("%d of the %d replicas of Redis that must have a request before it is accepted took it within %s",
		e.Got, e.Wanted, replicationPatience)
}

// Is makes it an ErrStoreUnavailable.
func (e *ReplicasError) Is(target error) bool { return target == ErrStoreUnavailable }

// runReplicated runs a script and waits until so many of Redis' replicas have its
// writes; 0 waits for none. What it has written stays written also if it is not
// replicated: then the reply comes with the error.
func runReplicated(ctx context.Context, s *redis.Script, client redis.UniversalClient, service string, args []any, replicas int) ([]any, error) {
	if replicas == 0 {
		return run(ctx, s, client, service, args)
	}
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		node, ok := client.(*redis.Client)
		if !ok {
			return nil, fmt.Errorf("cannot wait for replicas of a %T", client)
		}
		return runAndWait(ctx, s, node, service, args, replicas)
	}
	node, err := cluster.MasterForKey(ctx, keysOf(service)[0])
	if err != nil {
		return nil, err
	}
	reply, err := runAndWait(ctx, s, node, service, args, replicas)
	if reply == nil && err != nil {
		cluster.ReloadState(ctx) // a node asked directly does not lead to its successor; the next call finds it
	}
	return reply, err
}

// runAndWait does both on one connection: WAIT speaks of what its own has written.
func runAndWait(ctx context.Context, s *redis.Script, node *redis.Client, service string, args []any, replicas int) ([]any, error) {
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	reply, err := run(ctx, s, conn, service, args)
	if err != nil {
		return nil, err
	}
	n, err := conn.Do(ctx, "WAIT", replicas, replicationPatience.Milliseconds()).Int()
	if err != nil {
		return reply, err
	}
	if n < replicas {
		return reply, &ReplicasError{Got: n, Wanted: replicas}
	}
	return reply, nil
}
