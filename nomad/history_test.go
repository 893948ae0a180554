package nomad

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
	"pgregory.net/rapid"
)

// history is what a cluster went through, and how much of it has been heard.
type history struct {
	index  uint64
	allocs map[string]*api.AllocationListStub // now
	lines  []eventLine                        // told by the stream, in order
	ever   map[string]map[string]bool         // id → every state that it was in
	pairs  map[[2]string]bool                 // allocations that were wanted at once
	shown  map[string]bool                    // allocations that the picture has had
	born   int

	next  int            // line that the open stream delivers next
	lists []listOfAllocs // asked for, and on their way
}

// listOfAllocs is an answer that was true when it was given.
type listOfAllocs struct {
	allocs []*api.AllocationListStub
	index  uint64
	fresh  bool
	floor  tables
}

func stateOf(desired, client string) string { return desired + " " + client }

// write makes one raft entry of changed allocations.
func (h *history) write(silent bool, changed ...*api.AllocationListStub) {
	h.index++
	var line eventLine
	line.Index = h.index
	for _, a := range changed {
		a.ModifyIndex = h.index
		copied := *a
		h.allocs[a.ID] = &copied
		if h.ever[a.ID] == nil {
			h.ever[a.ID] = make(map[string]bool)
		}
		h.ever[a.ID][stateOf(a.DesiredStatus, a.ClientStatus)] = true
		line.Events = append(line.Events, allocEventOf(&copied))
	}
	for _, a := range h.allocs {
		for _, b := range h.allocs {
			if a.ID < b.ID && wanted(a) && wanted(b) {
				h.pairs[[2]string{a.ID, b.ID}] = true
			}
		}
	}
	if !silent {
		h.lines = append(h.lines, line)
	}
}

func wanted(a *api.AllocationListStub) bool {
	return a.DesiredStatus == jobs.DesiredRun && a.ClientStatus != jobs.ClientFailed
}

func allocEventOf(a *api.AllocationListStub) event {
	payload := fmt.Sprintf(`{"Allocation":{"ID":%q,"Name":%q,"Namespace":"default","JobID":"translate","TaskGroup":"server",`+
		`"DesiredStatus":%q,"ClientStatus":%q,"ModifyIndex":%d}}`, a.ID, a.Name, a.DesiredStatus, a.ClientStatus, a.ModifyIndex)
	return event{Topic: api.TopicAllocation, Key: a.ID, Namespace: "default", FilterKeys: []string{"translate"}, Index: a.ModifyIndex, Payload: []byte(payload)}
}

// happen lets something happen in the cluster.
func (h *history) happen(t *rapid.T) {
	ids := slices.Sorted(maps.Keys(h.allocs))
	var running []*api.AllocationListStub
	for _, id := range ids {
		if a := *h.allocs[id]; wanted(&a) {
			running = append(running, &a)
		}
	}
	what := rapid.SampledFrom([]string{"place", "place", "replace", "run", "fail", "stop", "end", "collect"}).Draw(t, "what")
	switch {
	case what == "place" || len(ids) == 0:
		h.write(false, h.place(len(running)))
	case what == "collect": // garbage collection tells nobody
		for _, id := range ids {
			if a := h.allocs[id]; a.ClientStatus == jobs.ClientComplete || a.ClientStatus == jobs.ClientFailed {
				delete(h.allocs, id)
			}
		}
		h.write(true)
	case what == "end":
		for _, id := range ids {
			if a := *h.allocs[id]; a.DesiredStatus == jobs.DesiredStop && a.ClientStatus != jobs.ClientComplete {
				a.ClientStatus = jobs.ClientComplete
				h.write(false, &a)
				return
			}
		}
	case len(running) > 0:
		a := rapid.SampledFrom(running).Draw(t, "which")
		switch what {
		case "run":
			a.ClientStatus = jobs.ClientRunning
			h.write(false, a)
		case "fail":
			a.ClientStatus = jobs.ClientFailed
			h.write(false, a)
		case "stop":
			a.DesiredStatus = jobs.DesiredStop
			h.write(false, a)
		case "replace": // one entry: never both wanted
			a.DesiredStatus = jobs.DesiredStop
			b := h.place(0)
			b.Name = a.Name
			if rapid.Bool().Draw(t, "new one first") {
				h.write(false, b, a)
			} else {
				h.write(false, a, b)
			}
		}
	}
}

func (h *history) place(index int) *api.AllocationListStub {
	h.born++
	return &api.AllocationListStub{ID: fmt.Sprintf("a%03d", h.born), Name: fmt.Sprintf("translate.server[%d]", index),
		Namespace: "default", JobID: "translate", TaskGroup: "server", DesiredStatus: jobs.DesiredRun, ClientStatus: jobs.ClientPending}
}

// snapshot is the list of allocations as it is now.
func (h *history) snapshot(fresh bool, floor tables) listOfAllocs {
	l := listOfAllocs{index: h.index, fresh: fresh, floor: floor}
	for _, id := range slices.Sorted(maps.Keys(h.allocs)) {
		a := *h.allocs[id]
		l.allocs = append(l.allocs, &a)
	}
	return l
}

// Whatever happens in a cluster, and however it is told (streams that are cut,
// start anew from any point, repeat what was collected long ago, lose what their
// buffer could not hold; lists that are late, overtaken by others, or stale), the
// picture never has a replica that never was, nor one in a state that it never
// was in, nor one and the one that replaced it both as wanted; it loses none that
// still is; and once a list has been read and the stream has told all, it is the
// truth.
func TestWhateverIsCutLateRepeatedOrStaleThePictureEndsAsTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		key := f.track(translateRef)
		f.pic.applyJob(key, jobInfo{index: 1, scalable: true, groups: map[string]groupInfo{"server": {mainTask: "engine"}}})
		h := &history{index: 10, allocs: map[string]*api.AllocationListStub{}, ever: map[string]map[string]bool{}, pairs: map[[2]string]bool{}, shown: map[string]bool{}}
		keys := []jobKey{key}
		f.pic.applyList(keys, nil, h.index, true)
		deliver := func(l listOfAllocs) {
			complete := l.fresh
			if complete {
				back, _ := f.pic.judge(tables{allocs: l.index}, l.floor, time.Unix(0, 0))
				complete = !back
			}
			f.pic.applyList(keys, l.allocs, l.index, complete)
		}
		var past []listOfAllocs // what a server that has fallen behind still answers
		t.Repeat(map[string]func(*rapid.T){
			"something happens": h.happen,
			"the stream tells the next": func(t *rapid.T) {
				if h.next < len(h.lines) {
					if err := f.takeLine(h.lines[h.next]); err != nil {
						t.Fatal(err)
					}
					h.next++
				}
			},
			"the stream is cut, a list is read, and it starts anew from any point before that": func(t *rapid.T) {
				deliver(h.snapshot(true, f.pic.highest()))
				h.next = rapid.IntRange(0, len(h.lines)).Draw(t, "from")
			},
			"a list is asked for": func(t *rapid.T) {
				l := h.snapshot(true, f.pic.highest())
				h.lists = append(h.lists, l)
				past = append(past, l)
			},
			"a list arrives, maybe after later ones": func(t *rapid.T) {
				if len(h.lists) > 0 {
					i := rapid.IntRange(0, len(h.lists)-1).Draw(t, "which")
					deliver(h.lists[i])
					h.lists = slices.Delete(h.lists, i, i+1)
				}
			},
			"a stale server answers": func(t *rapid.T) {
				if len(past) > 0 {
					l := rapid.SampledFrom(past).Draw(t, "as of")
					l.fresh, l.floor = rapid.Bool().Draw(t, "and does not say so"), f.pic.highest()
					deliver(l)
				}
			},
			"": func(t *rapid.T) { h.lawful(t, observed(t, f)) },
		})
		deliver(h.snapshot(true, f.pic.highest()))
		h.lists = nil
		for ; h.next < len(h.lines); h.next++ {
			if err := f.takeLine(h.lines[h.next]); err != nil {
				t.Fatal(err)
			}
		}
		o := observed(t, f)
		if len(o) != len(h.allocs) {
			t.Fatalf("got %d allocations, want %d", len(o), len(h.allocs))
		}
		for _, a := range o {
			truth, ok := h.allocs[a.ID]
			if !ok {
				t.Fatalf("%s is shown and is gone", a.ID)
			}
			if got, want := stateOf(a.Desired, a.Client), stateOf(truth.DesiredStatus, truth.ClientStatus); got != want {
				t.Fatalf("%s: got %s, want %s", a.ID, got, want)
			}
		}
	})
}

func observed(t *rapid.T, f *Fleet) []jobs.Allocation {
	o, ok, err := f.pic.observe(translateKey, translateRef, time.Unix(0, 0))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	return o.Allocations
}

// lawful fails if the picture has what never was, or has lost what still is.
func (h *history) lawful(t *rapid.T, shown []jobs.Allocation) {
	now := make(map[string]bool, len(shown))
	for _, a := range shown {
		now[a.ID], h.shown[a.ID] = true, true
	}
	for id := range h.allocs {
		if h.shown[id] && !now[id] {
			t.Fatalf("%s was shown, still is, and is shown no longer", id)
		}
	}
	for i, a := range shown {
		if !h.ever[a.ID][stateOf(a.Desired, a.Client)] {
			t.Fatalf("%s was never %s", a.ID, stateOf(a.Desired, a.Client))
		}
		for _, b := range shown[i+1:] {
			switch {
			case a.ID == b.ID:
				t.Fatalf("%s is shown twice", a.ID)
			case a.Index == b.Index && a.MayServe() && b.MayServe() && !h.pairs[[2]string{min(a.ID, b.ID), max(a.ID, b.ID)}]:
				t.Fatalf("%s and %s are both wanted, and never were at once", a.ID, b.ID)
			}
		}
	}
}
