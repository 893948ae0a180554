package nomad

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
	"pgregory.net/rapid"
)

var translateKey = jobKey{"default", "translate"}

// known returns a picture that knows the job at index 10 with the count.
func known(count int) *picture {
	p := newPicture()
	p.track(translateKey, translateRef)
	p.applyJob(translateKey, jobInfo{index: 10, modifyIndex: 10, scalable: true, groups: map[string]groupInfo{"server": {count: count, mainTask: "engine"}}})
	p.applyList([]jobKey{translateKey}, nil, 10, true)
	p.takeDirty()
	return p
}

func stub(id string, index uint64, client string) *api.AllocationListStub {
	return &api.AllocationListStub{ID: id, Name: "translate.server[0]", Namespace: "default", JobID: "translate", TaskGroup: "server",
		DesiredStatus: jobs.DesiredRun, ClientStatus: client, ModifyIndex: index}
}

func (p *picture) applyAlloc(stub *api.AllocationListStub) {
	p.applyAllocs([]*api.AllocationListStub{stub})
}

func (p *picture) must(t interface{ Fatal(...any) }) jobs.Observation {
	o, ok, err := p.observe(translateKey, translateRef, time.Unix(0, 0))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	return o
}

func TestOlderNewsOfAnAllocationIsDropped(t *testing.T) {
	p := known(1)
	p.applyAlloc(stub("a", 20, jobs.ClientRunning))
	p.takeDirty()
	p.applyAlloc(stub("a", 15, jobs.ClientPending)) // a restarted server replays its log
	p.applyAlloc(stub("a", 20, jobs.ClientPending))
	if got := p.must(t).Allocations[0].Client; got != jobs.ClientRunning {
		t.Errorf("got %s, want running", got)
	}
	if refs := p.takeDirty(); len(refs) != 0 {
		t.Errorf("old news was told as a change: %v", refs)
	}
}

func TestAListForgetsWhatItDoesNotHaveUnlessThatIsNewer(t *testing.T) {
	p := known(2)
	p.applyAlloc(stub("old", 20, jobs.ClientRunning))
	p.applyAlloc(stub("new", 40, jobs.ClientPending))
	p.applyList([]jobKey{translateKey}, nil, 30, true)
	o := p.must(t)
	if len(o.Allocations) != 1 || o.Allocations[0].ID != "new" {
		t.Errorf("got %+v, want only the one that came after the list", o.Allocations)
	}
}

func TestAListThatIsOlderThanARegistrationDoesNotPurgeTheJob(t *testing.T) {
	p := known(0)
	p.applyAbsent(translateKey, 9)
	if _, _, err := p.observe(translateKey, translateRef, time.Now()); err != nil {
		t.Errorf("got %v, want the job still known", err)
	}
	p.applyAbsent(translateKey, 10)
	if _, _, err := p.observe(translateKey, translateRef, time.Now()); !errors.Is(err, jobs.ErrPurged) {
		t.Errorf("got %v, want jobs.ErrPurged", err)
	}
	p.applyJob(translateKey, jobInfo{index: 10, groups: map[string]groupInfo{"server": {}}}) // an event from before
	if _, _, err := p.observe(translateKey, translateRef, time.Now()); !errors.Is(err, jobs.ErrPurged) {
		t.Errorf("after old news: got %v, want jobs.ErrPurged", err)
	}
	p.applyJob(translateKey, jobInfo{index: 11, scalable: true, groups: map[string]groupInfo{"server": {}}})
	if _, _, err := p.observe(translateKey, translateRef, time.Now()); err != nil {
		t.Errorf("after a new registration: %v", err)
	}
}

func TestOurOwnScaleIsSeenAtOnceAndNotUndoneByOldNews(t *testing.T) {
	p := known(0)
	p.applyScale(translateKey, "server", 3, 12)
	p.applyJob(translateKey, jobInfo{index: 11, modifyIndex: 11, scalable: true, groups: map[string]groupInfo{"server": {count: 0}}})
	if got := p.must(t).Count; got != 3 {
		t.Errorf("got count %d, want 3", got)
	}
	if refs := p.takeDirty(); len(refs) != 1 || refs[0] != translateRef {
		t.Errorf("told %v, want %v", refs, translateRef)
	}
}

func TestTerminalAllocationsAreForgottenAfterAWhile(t *testing.T) {
	p := known(0)
	gone := stub("a", 20, jobs.ClientComplete)
	gone.ModifyTime = time.Unix(1000, 0).UnixNano()
	p.applyAlloc(gone)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{keepTerminal, 1}, {keepTerminal + time.Second, 0}} {
		o, _, err := p.observe(translateKey, translateRef, time.Unix(1000, 0).Add(c.after))
		if err != nil || len(o.Allocations) != c.want {
			t.Errorf("after %v: got %d (%v), want %d", c.after, len(o.Allocations), err, c.want)
		}
	}
}

func TestAReasonIsOnlyShownWhileAllocationsAreMissing(t *testing.T) {
	p := known(1)
	p.setBlocked(translateKey, map[string]string{"server": "no free GPU"})
	if got := p.must(t).Blocked; got != "no free GPU" {
		t.Errorf("got %q", got)
	}
	p.applyAlloc(stub("a", 20, jobs.ClientPending))
	if got := p.must(t).Blocked; got != "" {
		t.Errorf("placed, and still %q", got)
	}
}

// Whatever the order in which news comes, and however often, the picture ends
// as the newest news of each allocation has it.
func TestNewsMayComeInAnyOrder(t *testing.T) {
	states := []string{jobs.ClientPending, jobs.ClientRunning, jobs.ClientFailed}
	rapid.Check(t, func(t *rapid.T) {
		p := known(3)
		news := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *api.AllocationListStub {
			s := stub(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "id"), rapid.Uint64Range(11, 30).Draw(t, "index"), "")
			s.ClientStatus = states[int(s.ModifyIndex)%len(states)] // one raft entry says one thing
			return s
		}), 1, 30).Draw(t, "news")
		newest := map[string]*api.AllocationListStub{}
		for _, n := range news {
			if old := newest[n.ID]; old == nil || n.ModifyIndex > old.ModifyIndex {
				newest[n.ID] = n
			}
			if rapid.Bool().Draw(t, "as a list") {
				p.applyList(nil, nil, n.ModifyIndex, true)
			}
			p.applyAlloc(n)
		}
		o := p.must(t)
		if len(o.Allocations) != len(newest) {
			t.Fatalf("got %d allocations, want %d", len(o.Allocations), len(newest))
		}
		for _, a := range o.Allocations {
			if want := newest[a.ID].ClientStatus; a.Client != want {
				t.Fatalf("%s: got %s, want %s", a.ID, a.Client, want)
			}
		}
	})
}

func TestWhatTheSchedulerWritesDoesNotEraseWhatTheClientSaid(t *testing.T) {
	p := known(1)
	running := stub("a", 20, jobs.ClientRunning)
	running.TaskStates = map[string]*api.TaskState{"engine": {StartedAt: time.Unix(7, 0).UTC(), Events: []*api.TaskEvent{
		{Type: api.TaskReceived, Time: time.Unix(5, 0).UnixNano()}}}}
	p.applyAlloc(running)
	p.applyAlloc(stub("a", 21, jobs.ClientRunning)) // without states
	a := p.must(t).Allocations[0]
	if a.Received.Unix() != 5 || a.Started.Unix() != 7 {
		t.Errorf("got %+v, want its times kept", a)
	}
}

func TestOldNewsOfOneThatAStaleListHasInItsPlaceAnotherForIsDropped(t *testing.T) {
	stale := func(p *picture, index uint64, stubs ...*api.AllocationListStub) {
		p.applyList([]jobKey{translateKey}, stubs, index, false)
	}
	only := func(p *picture, when, want string) {
		t.Helper()
		if o := p.must(t); len(o.Allocations) != 1 || o.Allocations[0].ID != want {
			t.Errorf("%s: got %+v, want %s alone", when, o.Allocations, want)
		}
	}
	p := known(1)
	first, second := stub("first", 20, jobs.ClientPending), stub("second", 22, jobs.ClientPending)
	stale(p, 23, second) // the first has failed and was collected, and nobody has told
	p.applyAlloc(first)
	only(p, "a stream that starts far back", "second")
	stale(p, 20, first)
	only(p, "a list that is older still", "second")

	both := known(1)
	stale(both, 23, first, second)
	if n := len(both.must(t).Allocations); n != 2 {
		t.Errorf("of one list that has both, got %d", n)
	}
	p.applyAlloc(stub("third", 24, jobs.ClientPending)) // it may come before what becomes of the second
	if n := len(p.must(t).Allocations); n != 2 {
		t.Errorf("after news that is newer than the list, got %d allocations, want 2", n)
	}
	p.applyList([]jobKey{translateKey}, []*api.AllocationListStub{first}, 30, true)
	only(p, "a complete list is the truth", "first")
}
