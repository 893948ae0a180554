package nomad

import (
	"context"
	"fmt"
	"net/http"

	"github.com/hashicorp/nomad/api"
)

// nodeFacts is what the picture keeps of a node that is being drained, or was
// until the last list.
type nodeFacts struct {
	draining bool
	index    uint64 // of the node's last change
}

// nodeNews is what an event says of a node.
type nodeNews struct {
	ID          string
	Drain       bool
	ModifyIndex uint64
}

// applyNode takes in what an event says of a node.
func (p *picture) applyNode(id string, now nodeFacts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, had := p.nodes[id]; had || now.index > p.drains { // else it is over, and told again
		p.takeNode(id, now)
	}
}

// takeNode takes in that a node is drained, or no longer. p.mu is held.
func (p *picture) takeNode(id string, now nodeFacts) {
	old, had := p.nodes[id]
	if had && now.index <= old.index || !had && !now.draining {
		return
	}
	p.nodes[id] = now
	if now.draining == old.draining {
		return
	}
	for _, j := range p.jobs {
		for _, a := range j.allocs {
			if a.NodeID == id {
				p.changed(j)
				break
			}
		}
	}
}

// applyDraining takes in the nodes that are being drained as of index; complete
// says that there are no others.
func (p *picture) applyDraining(nodes []*api.NodeListStub, index uint64, complete bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		if n.Drain {
			listed[n.ID] = true
			if _, had := p.nodes[n.ID]; had || index >= p.drains {
				p.takeNode(n.ID, nodeFacts{draining: true, index: n.ModifyIndex})
			}
		}
	}
	if !complete {
		return
	}
	for id, n := range p.nodes {
		if n.draining && !listed[id] && n.index < index {
			p.takeNode(id, nodeFacts{index: index})
		}
		if n := p.nodes[id]; !n.draining && n.index <= index {
			delete(p.nodes, id) // what is older than the list is known to be old
		}
	}
	p.drains = max(p.drains, index)
}

// listDraining reads which nodes are being drained; those are ineligible, and
// Nomad can filter by that only. Without the right to read nodes nobody knows,
// and that is said once; then the event stream is not asked for nodes either,
// because Nomad would refuse all of it.
func (f *Fleet) listDraining(ctx context.Context, stale bool) error {
	nodes, m, err := get[[]*api.NodeListStub](ctx, f, "/v1/nodes",
		api.QueryOptions{AllowStale: stale, Filter: `SchedulingEligibility == "ineligible"`}, readTimeout)
	if status, _ := answered(err); status == http.StatusForbidden {
		if f.blind.CompareAndSwap(false, true) {
			f.log.WarnContext(ctx, `the token may not read nodes: node drains and GPUs are not seen; it needs node { policy = "read" }`)
			f.reopenStreams()
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("list draining nodes: %w", err)
	}
	if f.blind.CompareAndSwap(true, false) {
		f.reopenStreams()
	}
	f.pic.applyDraining(nodes, m.index, m.fresh)
	return nil
}
