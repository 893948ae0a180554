package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// runReplicated runs a script and waits until so many of Redis' replicas have its
// writes; 0 waits for none. An error after the script has run does not undo it.
func runReplicated(ctx context.Context, s *redis.Script, client redis.UniversalClient, service string, args []any, replicas int) ([]any, error) {
	if replicas == 0 {
		return run(ctx, s, client, service, args)
	}
	// WAIT speaks of the writes of its own connection.
	var node *redis.Client
	switch c := client.(type) {
	case *redis.Client:
		node = c
	case *redis.ClusterClient:
		var err error
		if node, err = c.MasterForKey(ctx, keysOf(service)[0]); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("cannot wait for replicas of a %T", client)
	}
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	reply, err := run(ctx, s, conn, service, args)
	if err != nil {
		return nil, err
	}
	limit := 1000 // ms; the call's own deadline is later
	n, err := conn.Do(ctx, "WAIT", replicas, limit).Int()
	if err != nil {
		return nil, err
	}
	if n < replicas {
		return nil, fmt.Errorf("%d of the %d replicas of Redis that are to have it have taken it within %d ms", n, replicas, limit)
	}
	return reply, nil
}
