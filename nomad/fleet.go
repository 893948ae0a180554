package nomad

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

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
	streaming atomic.Bool   // the event stream has spoken and lives
	blind     atomic.Bool   // the token may not read nodes
	unlearned chan struct{} // one token: jobs have to be learned about
	doubt     chan struct{} // one token: look again why allocations are missing
	rescope   chan struct{} // one token: something else has to be listened to
	deaf      chan struct{} // one token: the stream has ended

	mu    sync.Mutex
	turns map[jobKey]chan struct{} // whose holder may write to the job

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
	return &Fleet{
		client:    client,
		log:       cfg.Logger,
		namespace: cfg.Namespace,
		pic:       newPicture(),
		unlearned: make(chan struct{}, 1),
		doubt:     make(chan struct{}, 1),
		rescope:   make(chan struct{}, 1),
		deaf:      make(chan struct{}, 1),
		turns:     make(map[jobKey]chan struct{}),
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
	t, ok := f.turns[key]
	if !ok {
		t = make(chan struct{}, 1)
		f.turns[key] = t
	}
	f.mu.Unlock()
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// believed reports whether the picture is as good as asking Nomad.
func (f *Fleet) believed() bool {
	at, streaming := f.Heard()
	return f.watching.Load() && streaming && time.Since(at) < believedFor
}

// believedFor is how old the picture may be: two checks and a list that failed.
const believedFor = 2*checkEvery + readTimeout

// signal leaves a token in c unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
