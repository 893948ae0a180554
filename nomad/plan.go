package nomad

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// Draft is a job spec as Nomad's own parser reads it. Nothing is registered.
type Draft struct {
	ID        string
	Namespace string
	Unscaled  bool // its meta says that Pilotlight does not scale it
	Groups    []DraftGroup

	job *api.Job
}

// DraftGroup of a Draft.
type DraftGroup struct {
	Name      string
	Count     int  // the file's; 1 if it names none
	AllAtOnce bool // update { max_parallel = 0 }: a change replaces all replicas at once
	Facts     RegisteredGroup
}

// Group returns the named group, or the only one if name is "".
func (d *Draft) Group(name string) (DraftGroup, bool) {
	for _, g := range d.Groups {
		if g.Name == name || name == "" && len(d.Groups) == 1 {
			return g, true
		}
	}
	return DraftGroup{}, false
}

// InvalidJobError says what Nomad finds wrong with a job spec, one sentence each.
type InvalidJobError struct{ Problems []string }

func (e *InvalidJobError) Error() string { return strings.Join(e.Problems, "; ") }

// Draft lets Nomad parse and validate a job spec. namespace is for a file that
// names none; "" is the configured one. variables are the text of a file of
// values, "" none. Errors: *InvalidJobError, jobs.ErrDenied.
func (c *Checkup) Draft(ctx context.Context, file, source, variables, namespace string) (*Draft, error) {
	r, err := c.ask(ctx, http.MethodPut, "/v1/jobs/parse", cmp.Or(namespace, c.cfg.Namespace), nil,
		map[string]any{"JobHCL": source, "Variables": variables, "Canonicalize": false})
	switch {
	case err != nil:
		return nil, err
	case r.status == http.StatusBadRequest:
		text := strings.TrimPrefix(strings.TrimSpace(string(r.body)), "Failed to parse job: ")
		return nil, &InvalidJobError{[]string{strings.NewReplacer("input.hcl", file, "<nil>", file).Replace(text)}}
	case r.err() != nil:
		return nil, r.err()
	}
	var job api.Job
	if err := json.Unmarshal(r.body, &job); err != nil {
		return nil, fmt.Errorf("read the parsed job: %w", err)
	}
	if deref(job.ID) == "" {
		return nil, &InvalidJobError{[]string{file + ": the job has no id"}}
	}
	if deref(job.Namespace) == "" {
		job.Namespace = new(cmp.Or(namespace, c.cfg.Namespace))
	}
	job.Canonicalize()
	if err := c.validate(ctx, &job); err != nil {
		return nil, err
	}
	d := &Draft{ID: *job.ID, Namespace: *job.Namespace, Unscaled: job.Meta["pilotlight"] == "not-scaled", job: &job}
	for _, tg := range job.TaskGroups {
		d.Groups = append(d.Groups, DraftGroup{Name: deref(tg.Name), Count: deref(tg.Count),
			AllAtOnce: tg.Update != nil && deref(tg.Update.MaxParallel) == 0, Facts: groupFacts(tg, nil)})
	}
	return d, nil
}

// validate asks Nomad what is wrong with a job. A token that may plan but not
// validate learns it from the plan.
func (c *Checkup) validate(ctx context.Context, job *api.Job) error {
	r, err := c.ask(ctx, http.MethodPut, "/v1/validate/job", *job.Namespace, nil, map[string]any{"Job": job})
	if err != nil || r.denied() {
		return err
	}
	if err := r.err(); err != nil {
		return err
	}
	var v struct{ ValidationErrors []string }
	if err := json.Unmarshal(r.body, &v); err != nil {
		return fmt.Errorf("read what Nomad finds wrong: %w", err)
	}
	if len(v.ValidationErrors) > 0 {
		return &InvalidJobError{v.ValidationErrors}
	}
	return nil
}

// Plan is what registering a Draft would do now.
type Plan struct {
	Change   string   // ChangeAdded, ChangeEdited, ChangeNone
	Diff     []Change // of fields, by place
	Groups   map[string]GroupPlan
	Warnings []string // Nomad's own
}

// What registering changes.
const (
	ChangeAdded   = "added"
	ChangeEdited  = "edited"
	ChangeDeleted = "deleted"
	ChangeNone    = "none"
)

// Change is one field that differs. The values of environments, metadata and
// templates are hidden, and what looks like a secret anywhere.
type Change struct {
	Kind   string `json:"change"` // ChangeAdded, ChangeDeleted, ChangeEdited
	Path   string `json:"path"`   // group.server.task.model.config.image
	Old    string `json:"old"`    // "" if hidden
	New    string `json:"new"`    // "" if hidden
	Hidden bool   `json:"hidden"`
}

// GroupPlan is what would become of one group, in allocations.
type GroupPlan struct {
	Place    int // new ones
	Stop     int
	Keep     int    // left alone, or changed without a restart
	Replace  int    // stopped, and started anew
	Preempt  int    // of other jobs, stopped to make room
	Missing  int    // asked for and not placed, for want of room
	Obstacle string // why, in the words of Observation.Blocked
}

// Plan asks Nomad what registering d would do, with other counts than the file's
// for the groups in counts. It costs Nomad a scheduling and changes nothing.
// nodes, if not nil, put figures into what is in the way. Errors:
// *InvalidJobError, jobs.ErrDenied.
func (c *Checkup) Plan(ctx context.Context, d *Draft, counts map[string]int, nodes []Node) (*Plan, error) {
	job := *d.job
	job.TaskGroups = nil
	for _, tg := range d.job.TaskGroups {
		g := *tg
		if n, ok := counts[deref(tg.Name)]; ok {
			g.Count = &n
		}
		job.TaskGroups = append(job.TaskGroups, &g)
	}
	r, err := c.ask(ctx, http.MethodPut, "/v1/job/"+url.PathEscape(d.ID)+"/plan", d.Namespace, nil, map[string]any{"Job": &job, "Diff": true})
	switch {
	case err != nil:
		return nil, err
	case r.status >= 500 && strings.Contains(string(r.body), "occurred:"):
		return nil, &InvalidJobError{listed(string(r.body))}
	case r.err() != nil:
		return nil, r.err()
	}
	var answer api.JobPlanResponse
	if err := json.Unmarshal(r.body, &answer); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	p := &Plan{Change: ChangeNone, Groups: map[string]GroupPlan{}, Warnings: listed(answer.Warnings)}
	if answer.Diff != nil {
		p.Change = strings.ToLower(answer.Diff.Type)
		p.Diff = changes(answer.Diff)
	}
	for _, tg := range job.TaskGroups {
		name := deref(tg.Name)
		var g GroupPlan
		if answer.Annotations != nil {
			g = toGroupPlan(answer.Annotations.DesiredTGUpdates[name])
		}
		if m := answer.FailedTGAllocs[name]; m != nil {
			g.Missing = m.CoalescedFailures + 1
			g.Obstacle = obstacle(m, jobKey{d.Namespace, d.ID}, toJobInfo(&job), name, g.Place-g.Missing, clusterOf(nodes))
		}
		p.Groups[name] = g
	}
	return p, nil
}

func toGroupPlan(u *api.DesiredUpdates) GroupPlan {
	if u == nil {
		return GroupPlan{}
	}
	return GroupPlan{Place: int(u.Place + u.Canary), Stop: int(u.Stop), Keep: int(u.Ignore + u.InPlaceUpdate),
		Replace: int(u.DestructiveUpdate + u.Migrate), Preempt: int(u.Preemptions)}
}

// listed takes the sentences out of Nomad's "2 errors occurred:\n\t* …".
func listed(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		item, ok := strings.CutPrefix(line, "* ")
		switch {
		case ok:
			out = append(out, item)
		case line == "" || strings.HasSuffix(line, ":"): // 2 errors occurred:, 1 warning:
		default:
			out = append(out, line)
		}
	}
	return out
}

// obstacle says why no more than fit new allocations of a group would be placed,
// in the words in which a running fleet would.
func obstacle(m *api.AllocationMetric, key jobKey, info jobInfo, group string, fit int, c *cluster) string {
	if c == nil || fit <= 0 {
		return blockage{metric: m}.reason(key, info, group, c)
	}
	return blockage{metric: m}.reason(key, info, group, c.beside(fit, info, group)) + fmt.Sprintf(" beside %d that fit", fit)
}

// beside is the room that is left when n more allocations of a group are placed,
// wherever they go first.
func (c *cluster) beside(n int, info jobInfo, group string) *cluster {
	left, g := new(cluster), info.groups[group]
	for _, room := range c.nodes {
		room.devices = slices.Clone(room.devices)
		left.nodes = append(left.nodes, room)
		if room.state() != "" || !info.mayUse(room.NodeListStub) {
			continue
		}
		for ; n > 0 && room.hold(g); n-- {
			left.nodes[len(left.nodes)-1].taken = room.taken
		}
	}
	return left
}

// hold takes the room for one allocation of a group, if there is that much.
func (n *nodeRoom) hold(g groupInfo) bool {
	ask, free := g.ask(), n.free()
	if n.missingDriver(g) != "" || ask.memoryMiB > free.memoryMiB && n.total.memoryMiB > 0 || ask.cpuMHz > free.cpuMHz && n.total.cpuMHz > 0 {
		return false
	}
	devices := slices.Clone(n.devices)
	for _, wanted := range g.devices {
		i := slices.IndexFunc(devices, func(d deviceRoom) bool { return d.matches(wanted.name) && d.free >= wanted.count })
		if i < 0 {
			return false
		}
		devices[i].free -= wanted.count
	}
	copy(n.devices, devices) // which the caller's room shares
	n.taken = n.taken.plus(ask)
	return true
}

// clusterOf is the room on the nodes; nil if they are not known.
func clusterOf(nodes []Node) *cluster {
	if nodes == nil {
		return nil
	}
	c := new(cluster)
	for _, n := range nodes {
		c.nodes = append(c.nodes, n.room)
	}
	return c
}

// changes are the differences as they are told outside.
func changes(d *api.JobDiff) []Change {
	var out []Change
	for _, diff := range differences(d, true) {
		c := Change{Kind: diff.kind, Path: diff.path, Old: diff.old, New: diff.new, Hidden: diff.hidden}
		if diff.task != "" {
			c.Path = join("task."+diff.task, c.Path)
		}
		if diff.group != "" {
			c.Path = join("group."+diff.group, c.Path)
		}
		out = append(out, c)
	}
	return out
}
