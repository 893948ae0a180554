package nomad

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

const (
	gpuTimeout = 2 * time.Second  // of one node's answer; a frozen client never answers
	gpuEvery   = time.Second      // least time between two questions to a node
	gpuSilent  = 10 * time.Second // until a node that did not answer is asked again
	gpuStale   = 30 * time.Second // age of a measurement from which on it says nothing
	// gpuAtOnce is how many nodes are asked at once: frozen ones must not take all
	// connections, by which everything else is asked and scaled.
	gpuAtOnce = maxConns / 3
)

// GPUs returns what the devices of the group's running allocations measure, by
// allocation id, from the statistics of their nodes. However many callers and
// services ask, a node is asked once at a time and at most once a second, and one
// that does not answer holds up nobody else for more than two seconds. What is
// not known is nil, with the reason. An allocation that holds no device is not in
// it.
//
// Errors: those of Observe.
func (f *Fleet) GPUs(ctx context.Context, ref jobs.Ref) (map[string]jobs.GPU, error) {
	o, err := f.Observe(ctx, ref)
	if err != nil {
		return nil, err
	}
	measured := make(map[string]jobs.GPU)
	nodes := make(map[string]string) // id → name
	for _, a := range o.Allocations {
		if a.Client == jobs.ClientRunning && len(a.Devices) > 0 {
			nodes[a.NodeID] = a.Node
		}
	}
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		answers = make(map[string]nodeStats, len(nodes))
	)
	for id, name := range nodes {
		wg.Go(func() {
			s := f.nodeStats(ctx, id, name)
			mu.Lock()
			defer mu.Unlock()
			answers[id] = s
		})
	}
	wg.Wait()
	for _, a := range o.Allocations {
		if a.Client == jobs.ClientRunning && len(a.Devices) > 0 {
			measured[a.ID] = answers[a.NodeID].of(a.Devices)
		}
	}
	return measured, nil
}

// gpuReader shares the nodes' answers among all who ask.
type gpuReader struct {
	turns chan struct{} // holds a token for each question that is under way
	mu    sync.Mutex
	nodes map[string]*nodeReading
}

func newGPUReader() *gpuReader {
	return &gpuReader{turns: make(chan struct{}, gpuAtOnce), nodes: make(map[string]*nodeReading)}
}

// nodeReading is the last answer of one node, and the question that is under way.
type nodeReading struct {
	last  nodeStats
	next  time.Time     // when it may be asked again
	asked chan struct{} // closed when the question that is under way is answered; nil if none is
}

// nodeStats returns what a node's devices measure, asking it if nobody has
// within a second. It returns by the end of ctx, or of the node's deadline.
func (f *Fleet) nodeStats(ctx context.Context, id, name string) nodeStats {
	g := f.gpus
	for {
		g.mu.Lock()
		r := g.nodes[id]
		if r == nil {
			r = new(nodeReading)
			g.nodes[id] = r
		}
		if time.Now().Before(r.next) {
			defer g.mu.Unlock()
			return r.last
		}
		if asked := r.asked; asked != nil {
			g.mu.Unlock()
			select {
			case <-asked:
				continue
			case <-ctx.Done():
				return nodeStats{why: fmt.Sprintf("node %s has not answered yet", name)}
			}
		}
		asked := make(chan struct{})
		r.asked = asked
		g.mu.Unlock()

		began := time.Now()
		// Others wait for this answer too: it does not end with the first who asked.
		s, silent := f.askNode(context.WithoutCancel(ctx), id, name)

		g.mu.Lock()
		r.last, r.asked, r.next = s, nil, began.Add(gpuEvery)
		if silent {
			r.next = time.Now().Add(gpuSilent)
		}
		g.forget(began)
		g.mu.Unlock()
		close(asked)
		return s
	}
}

// forget drops nodes that nobody has asked about for minutes. g.mu is held.
func (g *gpuReader) forget(now time.Time) {
	for id, r := range g.nodes {
		if r.asked == nil && now.Sub(r.next) > 5*time.Minute {
			delete(g.nodes, id)
		}
	}
}
