package scaler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// fleet is a Fleet of pretend allocations that behave as Nomad's do: lowest free
// index up, highest down, failed ones replaced after a while. It is also the
// transport to their probes.
type fleet struct {
	others
	mu      sync.Mutex
	ref     jobs.Ref         // the last one made known
	count   map[jobs.Ref]int // of the groups that are known
	broken  map[string]error // jobs that cannot be made known, and why
	ensures int
	allocs  []jobs.Allocation
	made    int
	changed func(jobs.Ref)

	load       time.Duration // from launch until the probe answers
	crash      time.Duration // from launch until the task fails; 0: never
	words      string        // its last words
	reschedule time.Duration // from a failure to the replacement; 0: none
	stale      int           // calls that came too late
	lost       int           // so many scale calls work, but their answers are lost
	refuse     int           // so many scale calls do nothing and fail
	full       string        // why nothing can be placed
	gpu        string        // body of /metrics; "": 404
	dead       map[string]bool
	launched   []time.Time
	probed     time.Time // first
	calls      []call
	at         map[jobs.Ref]uint64 // index of each job

	gpus      func(jobs.Allocation) jobs.GPU // what the devices of each measure; nil: they hold none
	gpusFail  error
	gpusHang  bool
	gpusDeaf  time.Duration // to any deadline
	gpusAsked int
}

type call struct {
	at     time.Time
	ref    jobs.Ref
	count  int
	reason string
}

var errLost = errors.New("connection reset")

func newFleet() *fleet {
	return &fleet{others: newOthers(), load: time.Second, count: map[jobs.Ref]int{}, at: map[jobs.Ref]uint64{}, broken: map[string]error{}, dead: map[string]bool{}, changed: func(jobs.Ref) {}}
}

func (f *fleet) Ensure(_ context.Context, _ *jobs.Spec, ref jobs.Ref, seen bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ensures++
	if err := f.fails(); err != nil {
		return err
	}
	if err := f.broken[ref.Job]; err != nil {
		return err
	}
	if _, known := f.count[ref]; !known && (f.purged[ref] || seen && !f.child) {
		return jobs.ErrPurged
	}
	f.ref = ref
	f.count[ref] += 0
	return nil
}

func (f *fleet) GPUs(ctx context.Context, ref jobs.Ref) (map[string]jobs.GPU, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gpusAsked++
	if deaf := f.gpusDeaf; deaf > 0 {
		f.mu.Unlock()
		time.Sleep(deaf)
		f.mu.Lock()
	}
	if f.gpusHang {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return nil, ctx.Err()
	}
	list := map[string]jobs.GPU{}
	for _, a := range f.allocs {
		if a.Ref == ref && f.gpus != nil {
			list[a.ID] = f.gpus(a)
		}
	}
	return list, f.gpusFail
}

// commands is how many calls were made that a fleet does not answer from memory.
func (f *fleet) commands() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ensures + f.gpusAsked + len(f.calls)
}

// vanish ends everything, counts included, as child processes do with their owner.
func (f *fleet) vanish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.child = true
	f.allocs = nil
	clear(f.count)
}

func (f *fleet) Watch(ctx context.Context, changed func(jobs.Ref)) error {
	f.mu.Lock()
	before := f.changed
	f.changed = func(ref jobs.Ref) { before(ref); changed(ref) }
	f.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (f *fleet) Observe(_ context.Context, ref jobs.Ref) (jobs.Observation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil {
		if o, ok := f.away[ref]; ok {
			return o, nil
		}
		return jobs.Observation{}, errAway
	}
	if err := f.fails(); err != nil {
		f.observed++
		return jobs.Observation{}, err
	}
	if err := f.broken[ref.Job]; err != nil {
		return jobs.Observation{}, err
	}
	if _, ok := f.count[ref]; !ok {
		return jobs.Observation{}, jobs.ErrUnknownJob
	}
	return f.picture(ref), nil
}

// picture is what is to be seen of a group; f.mu is held.
func (f *fleet) picture(ref jobs.Ref) jobs.Observation {
	o := jobs.Observation{
		Count: f.count[ref], At: time.Now(), Stopped: f.stopped[ref], Deployment: f.deployment[ref],
		Change: f.change[ref], Drift: f.drift[ref], Index: f.at[ref] + 1,
	}
	for _, a := range f.allocs {
		if a.Ref == ref {
			o.Allocations = append(o.Allocations, a)
		}
	}
	if f.blindToDeployments {
		o.Deployment = ""
	}
	if f.full != "" {
		o.Blocked = f.full
	}
	return o
}

func (f *fleet) Scale(ctx context.Context, ref jobs.Ref, count int, reason string, _ map[string]string) error {
	f.mu.Lock()
	err, slow := f.scale(ref, count, reason), f.slow
	f.mu.Unlock()
	if !sleep(ctx, slow) {
		return ctx.Err()
	}
	return err
}

func (f *fleet) ScaleFrom(ctx context.Context, ref jobs.Ref, index uint64, count int, reason string, _ map[string]string) error {
	f.mu.Lock()
	var err error
	if f.away == nil && index != f.at[ref]+1 {
		f.stale++
		err = fmt.Errorf("scale %s: %w", ref, jobs.ErrChanged)
	} else {
		err = f.scale(ref, count, reason)
	}
	slow := f.slow
	f.mu.Unlock()
	if !sleep(ctx, slow) {
		return ctx.Err()
	}
	return err
}

// scale is the effect of a scale call; f.mu is held.
func (f *fleet) scale(ref jobs.Ref, count int, reason string) error {
	f.calls = append(f.calls, call{time.Now(), ref, count, reason})
	if err := f.fails(); err != nil {
		return err
	}
	switch {
	case f.readOnly:
		return fmt.Errorf("scale %s: %w", ref, jobs.ErrDenied)
	case f.overtaken > 0:
		f.overtaken--
		return jobs.ErrChanged
	case f.deployment[ref] != "":
		return &jobs.DeploymentError{Ref: ref, Message: "job scaling blocked due to active deployment"}
	case f.purged[ref]:
		return jobs.ErrPurged
	case f.stopped[ref] != "":
		return jobs.ErrStopped
	}
	if f.refuse > 0 {
		f.refuse--
		return errors.New("no leader")
	}
	f.count[ref] = count
	f.at[ref]++
	if f.lag > 0 {
		time.AfterFunc(f.lag, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.fill(ref)
		})
	} else {
		f.fill(ref)
	}
	if f.lost > 0 {
		f.lost--
		return errLost
	}
	return nil
}

// fill places and stops allocations; f.mu is held.
func (f *fleet) fill(ref jobs.Ref) {
	taken := map[int]bool{}
	var live []*jobs.Allocation
	for i := range f.allocs {
		if a := &f.allocs[i]; a.Ref == ref && a.Desired == jobs.DesiredRun {
			taken[a.Index] = true
			live = append(live, a)
		}
	}
	slices.SortFunc(live, func(a, b *jobs.Allocation) int { return cmp.Compare(a.Index, b.Index) })
	for n := len(live); n > f.count[ref]; n-- {
		i := n - 1
		if other := slices.IndexFunc(live[:n], func(a *jobs.Allocation) bool { return a.ID == f.instead }); other >= 0 {
			i, f.instead = other, ""
		}
		f.end(live[i])
		live = append(slices.Delete(live, i, i+1), nil)
	}
	live = slices.DeleteFunc(live, func(a *jobs.Allocation) bool { return a == nil })
	for i := 0; len(live) < f.count[ref] && f.full == ""; i++ {
		if taken[i] {
			continue
		}
		live = append(live, nil)
		f.place(ref, i)
	}
	f.tell(ref)
}

// tell reports a change beside its cause; f.mu is held.
func (f *fleet) tell(ref jobs.Ref) {
	if f.away != nil {
		return
	}
	changed := f.changed
	go changed(ref)
}

func (f *fleet) place(ref jobs.Ref, index int) {
	f.made++
	now := time.Now()
	a := jobs.Allocation{
		ID: fmt.Sprintf("alloc-%d", f.made), Ref: ref, Index: index, Node: "node",
		Address: fmt.Sprintf("10.0.0.%d:80", f.made), Desired: jobs.DesiredRun,
		Client: jobs.ClientRunning, Created: now.Add(f.skew), Started: now.Add(f.skew + time.Millisecond),
	}
	f.allocs = append(f.allocs, a)
	f.launched = append(f.launched, now)
	if f.crash > 0 {
		words := f.words
		time.AfterFunc(f.crash, func() { f.kill(a.ID, words) })
	}
}

// kill ends an allocation's process for good.
func (f *fleet) kill(id, words string) {
	f.alter(id, func(a *jobs.Allocation) {
		if a.Terminal() {
			return
		}
		a.Client, a.Failure, a.Finished = jobs.ClientFailed, words, time.Now()
		if f.reschedule > 0 {
			time.AfterFunc(f.reschedule, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				for i := range f.allocs {
					if a := &f.allocs[i]; a.ID == id && a.Desired == jobs.DesiredRun {
						a.Desired = jobs.DesiredStop
						f.place(a.Ref, a.Index)
						f.tell(a.Ref)
					}
				}
			})
		}
	})
}

func (f *fleet) alter(id string, change func(*jobs.Allocation)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.allocs {
		if f.allocs[i].ID == id {
			change(&f.allocs[i])
			f.tell(f.allocs[i].Ref)
		}
	}
}

// RoundTrip answers probes and scrapes for the allocations.
func (f *fleet) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.probed.IsZero() {
		f.probed = time.Now()
	}
	for _, a := range f.allocs {
		if a.Address != req.URL.Host {
			continue
		}
		if a.Terminal() || f.dead[a.ID] || time.Since(a.Created.Add(-f.skew)) < f.load {
			return nil, syscall.ECONNREFUSED
		}
		status, body := http.StatusOK, ""
		if req.URL.Path == "/metrics" {
			if body = f.gpu; body == "" {
				status = http.StatusNotFound
			}
		}
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	}
	return nil, syscall.ECONNREFUSED
}

// runs returns how many allocations of a job have a process.
func (f *fleet) runs(job string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.allocs {
		if a.Ref.Job == job && !a.Terminal() {
			n++
		}
	}
	return n
}

// running returns how many allocations have a process.
func (f *fleet) running() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.allocs {
		if !a.Terminal() {
			n++
		}
	}
	return n
}

func (f *fleet) wants() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, count := range f.count {
		n += count
	}
	return n
}

func (f *fleet) placements() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

func (f *fleet) scaleCalls() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// counts returns the counts that were asked for, in order.
func (f *fleet) counts() (list []int) {
	for _, c := range f.scaleCalls() {
		list = append(list, c.count)
	}
	return list
}

func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

var _ Shared = (*fleet)(nil)
