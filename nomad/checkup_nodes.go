package nomad

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// Node is what Nomad's servers know of one client.
type Node struct {
	ID      string
	Name    string
	Version string
	Pool    string
	State   string   // "ready", or why nothing is placed there: "down", "being drained", "ineligible", …
	Drivers []string // task drivers that are healthy there, sorted
	Devices []NodeDevice

	room nodeRoom // what a plan counts
}

// Places reports whether Nomad would place anything there.
func (n Node) Places() bool { return n.State == api.NodeStatusReady }

// NodeDevice is one group of like devices of a Node.
type NodeDevice struct {
	Name      string // vendor/type/name
	Type      string // gpu
	Healthy   int
	Unhealthy int
	Used      int    // of the healthy ones
	Memory    string // of one, in Nomad's words; "" unknown
	Driver    string // version of the device's driver; "" unknown
}

// Nodes lists the clients by name. What is used is counted from the allocations
// that the token may see.
func (c *Checkup) Nodes(ctx context.Context) ([]Node, error) {
	var stubs []*api.NodeListStub
	if err := c.read(ctx, "/v1/nodes", "", url.Values{"resources": {"true"}}, &stubs); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var allocs []*api.AllocationListStub
	err := c.read(ctx, "/v1/allocations", api.AllNamespacesNamespace, url.Values{"resources": {"true"},
		"filter": {`ClientStatus == "pending" or ClientStatus == "running" or ClientStatus == "unknown"`}}, &allocs)
	if err != nil && !errors.Is(err, jobs.ErrDenied) {
		return nil, fmt.Errorf("list allocations: %w", err)
	}
	var nodes []Node
	for _, room := range newCluster(stubs, allocs).nodes {
		nodes = append(nodes, toNode(room))
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return nodes, nil
}

func toNode(room nodeRoom) Node {
	s := room.NodeListStub
	n := Node{ID: s.ID, Name: cmp.Or(s.Name, s.ID), Version: s.Version, Pool: s.NodePool, State: cmp.Or(room.state(), api.NodeStatusReady), room: room}
	for name, d := range s.Drivers {
		if d != nil && d.Detected && d.Healthy {
			n.Drivers = append(n.Drivers, name)
		}
	}
	slices.Sort(n.Drivers)
	for i, d := range room.devices { // in the order of the node's own
		of := s.NodeResources.Devices[i]
		n.Devices = append(n.Devices, NodeDevice{Name: of.ID(), Type: of.Type, Memory: attribute(of, "memory"), Driver: attribute(of, "driver_version"),
			Healthy: d.healthy, Unhealthy: len(of.Instances) - d.healthy, Used: d.healthy - d.free})
	}
	return n
}

func attribute(d *api.NodeDeviceResource, name string) string {
	if a := d.Attributes[name]; a != nil {
		return a.String()
	}
	return ""
}

// Client is what one client tells of itself; nil is unknown, for the reason in Why.
type Client struct {
	Clock          *Clock
	Measured       int // devices whose statistics have figures
	Unmeasured     int // devices of the statistics that have none
	MaxKillTimeout *time.Duration
	AllocMetrics   *bool // publish_allocation_metrics
	StatsWhy       string
	SettingsWhy    string
}

// Client asks one client, through the servers for its statistics and directly
// for its settings, which servers do not pass on.
func (c *Checkup) Client(ctx context.Context, node Node) Client {
	var to Client
	if err := c.clientStats(ctx, node.ID, &to); err != nil {
		to.StatsWhy = err.Error()
	}
	if err := c.clientSettings(ctx, node.ID, &to); err != nil {
		to.SettingsWhy = err.Error()
	}
	return to
}

// clientTimeout: a frozen client never answers.
const clientTimeout = 2 * time.Second

// statsAge is how old statistics are when they are told: clients collect them
// once a second.
const statsAge = time.Second

func (c *Checkup) clientStats(ctx context.Context, id string, to *Client) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	var stats struct {
		Timestamp   int64 // ns
		DeviceStats []*api.DeviceGroupStats
	}
	before := time.Now()
	if err := c.read(ctx, "/v1/client/stats", "", url.Values{"node_id": {id}}, &stats); err != nil {
		return err
	}
	if stats.Timestamp > 0 {
		took := time.Since(before)
		to.Clock = &Clock{Ahead: time.Unix(0, stats.Timestamp).Sub(before.Add(took/2 - statsAge/2)), Within: statsAge + took/2}
	}
	for _, g := range stats.DeviceStats {
		for _, i := range g.InstanceStats {
			if i != nil && hasFigures(i.Stats) {
				to.Measured++
			} else {
				to.Unmeasured++
			}
		}
	}
	return nil
}

func hasFigures(o *api.StatObject) bool {
	if o == nil {
		return false
	}
	for _, v := range o.Attributes {
		if v != nil && (v.IntNumeratorVal != nil || v.FloatNumeratorVal != nil) {
			return true
		}
	}
	return false
}

func (c *Checkup) clientSettings(ctx context.Context, id string, to *Client) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	var node api.Node
	if err := c.read(ctx, "/v1/node/"+id, "", nil, &node); err != nil {
		return err
	}
	if node.HTTPAddr == "" {
		return errors.New("the client tells no address")
	}
	direct, err := c.at(node.HTTPAddr, node.TLSEnabled)
	if err != nil {
		return err
	}
	defer direct.Close()
	var self struct {
		Config struct {
			Client    struct{ MaxKillTimeout json.RawMessage }
			Telemetry struct{ PublishAllocationMetrics *bool }
		} `json:"config"`
		Stats struct {
			Client struct {
				NodeID string `json:"node_id"`
			} `json:"client"`
		} `json:"stats"`
	}
	if err := direct.read(ctx, "/v1/agent/self", "", nil, &self); err != nil {
		return fmt.Errorf("ask %s: %w", node.HTTPAddr, err)
	}
	if got := self.Stats.Client.NodeID; got != "" && got != id {
		return fmt.Errorf("at %s answers another client", node.HTTPAddr)
	}
	to.MaxKillTimeout = durationOf(self.Config.Client.MaxKillTimeout)
	to.AllocMetrics = self.Config.Telemetry.PublishAllocationMetrics
	return nil
}

// durationOf reads "30s", or nanoseconds; nil if it is neither.
func durationOf(raw json.RawMessage) *time.Duration {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if d, err := time.ParseDuration(text); err == nil {
			return &d
		}
		return nil
	}
	var ns int64
	if json.Unmarshal(raw, &ns) == nil && len(raw) > 0 {
		return new(time.Duration(ns))
	}
	return nil
}

// at returns a Checkup of another agent of the same cluster. With TLS the agent
// shows the certificate of its role, as Nomad's own tools expect.
func (c *Checkup) at(address string, overTLS bool) (*Checkup, error) {
	cfg := c.cfg
	cfg.Region = ""
	if !overTLS {
		cfg.Address = "http://" + address
		return NewCheckup(cfg)
	}
	cfg.Address = "https://" + address
	if cfg.TLSServerName == "" {
		cfg.TLSServerName = "client." + cmp.Or(c.cfg.Region, api.GlobalRegion) + ".nomad"
	}
	return NewCheckup(cfg)
}

// Registered is a job as Nomad has it.
type Registered struct {
	Stopped bool
	Type    string
	Version uint64
	Groups  map[string]RegisteredGroup
}

// RegisteredGroup of a Registered job.
type RegisteredGroup struct {
	Count       int
	Running     int           // allocations that are to run and have not ended
	KillTimeout time.Duration // of the task that serves
	Drivers     []string
}

// Registered reads a job with its allocations. jobs.ErrUnknownJob if Nomad has none such.
func (c *Checkup) Registered(ctx context.Context, namespace, id string) (*Registered, error) {
	path := "/v1/job/" + url.PathEscape(id)
	r, err := c.ask(ctx, http.MethodGet, path, namespace, nil, nil)
	if err != nil {
		return nil, err
	}
	if r.status == http.StatusNotFound {
		return nil, jobs.ErrUnknownJob
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	var job api.Job
	if err := json.Unmarshal(r.body, &job); err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	var allocs []*api.AllocationListStub
	if err := c.read(ctx, path+"/allocations", namespace, nil, &allocs); err != nil {
		return nil, fmt.Errorf("list the allocations of %s: %w", id, err)
	}
	out := &Registered{Stopped: deref(job.Stop), Type: deref(job.Type), Version: deref(job.Version), Groups: map[string]RegisteredGroup{}}
	for _, tg := range job.TaskGroups {
		out.Groups[deref(tg.Name)] = groupFacts(tg, allocs)
	}
	return out, nil
}

func groupFacts(tg *api.TaskGroup, allocs []*api.AllocationListStub) RegisteredGroup {
	g := RegisteredGroup{Count: deref(tg.Count)}
	for _, a := range allocs {
		ended := a.ClientStatus == jobs.ClientComplete || a.ClientStatus == jobs.ClientFailed || a.ClientStatus == jobs.ClientLost
		if a.TaskGroup == deref(tg.Name) && a.DesiredStatus == jobs.DesiredRun && !ended {
			g.Running++
		}
	}
	main := mainTask(tg)
	for _, t := range tg.Tasks {
		g.Drivers = append(g.Drivers, t.Driver)
		if t.Name == main {
			g.KillTimeout = deref(t.KillTimeout)
		}
	}
	return g
}
