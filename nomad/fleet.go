package nomad

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// Fleet runs allocations through Nomad. It is safe for concurrent use.
type Fleet struct {
	client    *api.Client
	log       *slog.Logger
	namespace string // of references that name none

	pic *picture

	watching  atomic.Bool   // Watch runs
	blind     atomic.Bool   // the token may not read nodes
	unlearned chan struct{} // one token: jobs have to be learned about
	doubt     chan struct{} // one token: look again why allocations are missing
	rescope   chan struct{} // one token: other namespaces have to be listened to

	mu        sync.Mutex
	turns     map[jobKey]*turn     // whose holder may write to the job
	listeners map[string]*listener // by scope

	gpus *gpuReader
}

// New returns the Fleet of one Nomad region. It makes no connection yet.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.filled()
	httpClient, err := newHTTPClient(cfg)
	if err != nil {
		return nil, err
	}
	return newFleet(cfg, httpClient)
}

func newFleet(cfg Config, httpClient *http.Client) (*Fleet, error) {
	client, err := newClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	pic := newPicture()
	pic.home = cfg.Namespace
	return &Fleet{
		client:    client,
		log:       cfg.Logger,
		namespace: cfg.Namespace,
		pic:       pic,
		unlearned: make(chan struct{}, 1),
		doubt:     make(chan struct{}, 1),
		rescope:   make(chan struct{}, 1),
		turns:     make(map[jobKey]*turn),
		listeners: make(map[string]*listener),
		gpus:      newGPUReader(),
	}, nil
}

// Close gives idle connections back: Nomad counts them against the limit of a
// source address. The Fleet stays usable. Call it once Watch has ended.
func (f *Fleet) Close() { f.client.Close() }

// track returns the job of ref and sees to it that the picture has room for it.
func (f *Fleet) track(ref jobs.Ref) jobKey {
	key := jobKey{namespace: cmp.Or(ref.Namespace, f.namespace), id: ref.Job}
	if f.pic.track(key, ref) {
		signal(f.rescope)
	}
	return key
}

// turn waits until nobody else writes to the job and returns what ends the
// turn. It bounds scales to one in flight per job: the evaluations of two may
// undo one another, and both compare the same index.
func (f *Fleet) turn(ctx context.Context, key jobKey) (end func(), err error) {
	f.mu.Lock()
	t := f.turns[key]
	if t == nil {
		t = &turn{held: make(chan struct{}, 1)}
		f.turns[key] = t
	}
	t.users++
	f.mu.Unlock()
	leave := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(f.turns, key)
		}
	}
	select {
	case t.held <- struct{}{}:
		return func() { <-t.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// turn is the right to write to one job, while somebody has it or waits for it.
type turn struct {
	held  chan struct{} // holds a token while somebody has it
	users int
}

// signal leaves a token in c unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
