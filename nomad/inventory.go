package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/nomad/api"
	"golang.org/x/sync/singleflight"

	"github.com/pilotlight/pilotlight/jobs"
)

const (
	roomTimeout = time.Second     // of one answer: somebody waits for it who could do without
	roomAge     = 5 * time.Second // how long the nodes of one answer, or a silence, are good for others
)

// Inventory tells what room a cluster has for replicas. Nodes are read at most
// once in five seconds, whoever asks, and a Nomad that was silent is not waited
// for again within them. It has no life of its own.
type Inventory struct {
	nomad *Checkup
	reads singleflight.Group

	mu     sync.Mutex
	nodes  *cluster
	failed error     // why there are no nodes
	until  time.Time // what is known is good
}

// NewInventory makes no connection yet. The error is one of the configuration.
func NewInventory(cfg Config) (*Inventory, error) {
	c, err := NewCheckup(cfg)
	if err != nil {
		return nil, err
	}
	return &Inventory{nomad: c}, nil
}

// Close gives idle connections back.
func (i *Inventory) Close() { i.nomad.Close() }

// Room counts the GPUs that replicas of a job group could have, within a second.
// What one takes is what the job asks for, as Nomad has it; gpus is that of a job
// that Nomad does not have. Constraints are not judged, on devices or on nodes:
// there may be less room, never more.
//
// Errors: jobs.ErrUnknownGroup, jobs.ErrDenied, and those of a Nomad that does not
// answer.
func (i *Inventory) Room(ctx context.Context, ref jobs.Ref, gpus int) (jobs.Room, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, roomTimeout, errNoAnswer)
	defer cancel()
	nodes, err := i.cluster(ctx)
	if err != nil {
		return jobs.Room{}, err
	}
	info, group, err := i.group(ctx, ref, gpus)
	if err != nil {
		return jobs.Room{}, err
	}
	return nodes.room(info, group), nil
}

var errNoAnswer = fmt.Errorf("no answer of Nomad within %s", roomTimeout)

// cluster is what was read last, or now; nobody changes it.
func (i *Inventory) cluster(ctx context.Context) (*cluster, error) {
	if nodes, err, ok := i.known(); ok {
		return nodes, err
	}
	// Others wait for this answer too: it does not end with the first who asked.
	read := i.reads.DoChan("nodes", func() (any, error) {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), roomTimeout, errNoAnswer)
		defer cancel()
		var nodes []*api.NodeListStub
		err := i.nomad.read(ctx, "/v1/nodes", "", url.Values{"resources": {"true"}, "stale": {"true"}}, &nodes)
		if errors.Is(err, jobs.ErrDenied) {
			err = fmt.Errorf(`list nodes: %w; it needs node { policy = "read" }`, err)
		} else if err != nil {
			err = fmt.Errorf("list nodes: %w", because(ctx, err))
		}
		c := newCluster(nodes, nil)
		i.learn(c, err)
		return c, err
	})
	select {
	case r := <-read:
		nodes, _ := r.Val.(*cluster)
		return nodes, r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (i *Inventory) known() (nodes *cluster, err error, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.nodes, i.failed, time.Now().Before(i.until)
}

func (i *Inventory) learn(nodes *cluster, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.nodes, i.failed, i.until = nodes, err, time.Now().Add(roomAge)
}

// group reads what the job is and what its group asks for.
func (i *Inventory) group(ctx context.Context, ref jobs.Ref, gpus int) (jobInfo, groupInfo, error) {
	r, err := i.nomad.ask(ctx, http.MethodGet, "/v1/job/"+url.PathEscape(ref.Job), ref.Namespace, url.Values{"stale": {"true"}}, nil)
	switch {
	case err != nil:
		err = fmt.Errorf("read job %s: %w", ref.Job, because(ctx, err))
		if errors.Is(err, errNoAnswer) {
			i.learn(nil, err)
		}
		return jobInfo{}, groupInfo{}, err
	case r.status == http.StatusNotFound:
		g := groupInfo{}
		if gpus > 0 {
			g.devices = []deviceAsk{{name: "gpu", count: gpus}}
		}
		return jobInfo{}, g, nil
	case r.denied():
		return jobInfo{}, groupInfo{}, fmt.Errorf("read job %s: %w: the token lacks read-job in namespace %q", ref.Job, jobs.ErrDenied, ref.Namespace)
	case r.err() != nil:
		return jobInfo{}, groupInfo{}, fmt.Errorf("read job %s: %w", ref.Job, r.err())
	}
	var job api.Job
	if err := json.Unmarshal(r.body, &job); err != nil {
		return jobInfo{}, groupInfo{}, fmt.Errorf("read job %s: %w", ref.Job, err)
	}
	info := toJobInfo(&job)
	_, g, ok := info.group(ref.Group)
	if !ok {
		return jobInfo{}, groupInfo{}, fmt.Errorf("job %s: %w", ref.Job, jobs.ErrUnknownGroup)
	}
	return info, g, nil
}

// because is err, or why ctx ended, which says more.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
