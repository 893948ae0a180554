package nomad

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestWhoMadeAVersionOfAJob(t *testing.T) {
	at := time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)
	info := jobInfo{created: 100, version: 5, modifyIndex: 200, submitted: at, groups: map[string]groupInfo{"server": {count: 2}, "other": {count: 1}}}
	before := &jobInfo{created: 100, version: 4, groups: map[string]groupInfo{"server": {count: 3}, "other": {count: 1}}}
	ours := func(index uint64, count int64, mark string) api.ScalingEvent {
		return api.ScalingEvent{CreateIndex: index, Count: &count, Meta: map[string]any{markKey: mark}}
	}
	theirs := func(index uint64, count int64) api.ScalingEvent {
		return api.ScalingEvent{CreateIndex: index, Count: &count, PreviousCount: 3, Message: "by hand", Time: uint64(at.UnixNano())}
	}
	note := api.ScalingEvent{CreateIndex: 150, Meta: map[string]any{markKey: markNote}}
	byHand := map[string]jobs.Change{"server": {Kind: jobs.ChangeCount, Index: 202, Before: 3, Count: 2, At: at, By: "by hand"}}
	for _, c := range []struct {
		name    string
		before  *jobInfo
		events  []api.ScalingEvent // of group server
		certain bool
		changes map[string]jobs.Change
	}{
		{"a scale with our mark of this version", before, []api.ScalingEvent{ours(202, 2, "version 5")}, true, nil},
		{"one that we left a mark on without a scale", before, []api.ScalingEvent{{CreateIndex: 203, Meta: map[string]any{markKey: "version 5"}}}, true, nil},
		{"our mark of an earlier version proves nothing", before, []api.ScalingEvent{ours(170, 3, "version 4")}, false, nil},
		{"a delayed event of our earlier scale is not of this version", before, []api.ScalingEvent{ours(201, 3, "version 4")}, false, nil},
		{"a scale without a mark", before, []api.ScalingEvent{theirs(202, 2), ours(170, 3, "version 4")}, true, byHand},
		{"a scale without a mark, of an earlier version", before, []api.ScalingEvent{theirs(199, 2)}, false, nil},
		{"a delayed one with another count", before, []api.ScalingEvent{theirs(201, 3)}, false, nil},
		{"the newest of several", before, []api.ScalingEvent{theirs(202, 2), theirs(201, 2)}, true, byHand},
		{"nothing known", before, nil, false, nil},
		{"at first sight, a scale by hand after one of ours", nil, []api.ScalingEvent{theirs(202, 2), ours(170, 3, "version 4")}, true, byHand},
		{"at first sight, a scale by hand after a note of ours", nil, []api.ScalingEvent{theirs(202, 2), note}, true, byHand},
		{"at first sight, a job that we have had nothing to do with", nil, []api.ScalingEvent{theirs(202, 2)}, true, nil},
		{"at first sight, marks of a purged job of that name", nil, []api.ScalingEvent{theirs(202, 2), ours(90, 1, "version 5")}, true, nil},
		{"at first sight, a version after ours that nobody scaled", nil, []api.ScalingEvent{ours(170, 3, "version 4")}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			changes, certain := scaledBy(info, c.before, map[string][]api.ScalingEvent{"server": c.events, "other": nil})
			if certain != c.certain {
				t.Errorf("certain: got %v, want %v", certain, c.certain)
			}
			if diff := cmp.Diff(c.changes, changes); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("a deploy is a change of every group", func(t *testing.T) {
		deploy := func(before, count int) jobs.Change {
			return jobs.Change{Kind: jobs.ChangeDeploy, Index: 200, Before: before, Count: count, At: at}
		}
		for _, c := range []struct {
			name   string
			before *jobInfo
			want   map[string]jobs.Change
		}{
			{"that was watched", before, map[string]jobs.Change{"server": deploy(3, 2), "other": deploy(1, 1)}},
			{"at first sight", nil, map[string]jobs.Change{"server": deploy(7, 2), "other": deploy(-1, 1)}},
		} {
			got := deployed(info, c.before, map[string][]api.ScalingEvent{"server": {note, ours(170, 7, "version 4"), ours(160, 1, "version 3")}})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
	})
}

// Nomad writes the scaling event two raft entries after the job: whoever looks
// in between must not take the scale for a deploy.
func TestAScaleIsNotTakenForADeployBeforeNomadHasWrittenWhoItWas(t *testing.T) {
	for _, c := range []struct {
		name   string
		hidden int           // how often the events are read in vain
		within time.Duration // it is to be seen
		want   jobs.Change
	}{
		{"late", 3, 200 * time.Millisecond, jobs.Change{Kind: jobs.ChangeCount, Before: 0, Count: 2, By: "by hand"}},
		{"never", 1000, settles + 200*time.Millisecond, jobs.Change{Kind: jobs.ChangeCount, Before: 0, Count: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
				b.watch()
				b.ensure(parse(t, translate), translateRef)
				b.until(translateRef, "the job", func(o jobs.Observation) bool { return true })
				b.double.Fail(c.hidden, "GET", scalePath, 404, "job not found")
				began := time.Now()
				byHand(t, b, 2)
				o := b.until(translateRef, "their count", func(o jobs.Observation) bool {
					if o.Count == 2 && o.Change == nil {
						t.Fatal("the count was seen without who set it")
					}
					return o.Count == 2
				})
				if took := time.Since(began); took > c.within {
					t.Errorf("seen after %v, want within %v", took, c.within)
				}
				got := *o.Change
				got.Index, got.At = 0, time.Time{}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("change (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestOurOwnScalesAskNobodyWhoMadeThem(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		synctest.Wait()
		reads := len(b.double.Calls("GET", ""))
		for _, n := range []int{1, 3, 0} {
			b.scale(translateRef, n)
			synctest.Wait()
		}
		if n := len(b.double.Calls("GET", "/v1/job/translate")) + len(b.double.Calls("GET", scalePath)); n > reads {
			t.Errorf("the job or its scaling events were read after our own scales, %d times", n-reads)
		}
		if o := b.observe(translateRef); o.Change != nil {
			t.Errorf("got %+v", o.Change)
		}
	})
}

func TestAChangeMadeWhileTheStreamIsCutIsTold(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.until(translateRef, "the job", func(o jobs.Observation) bool { return true })
		b.double.MuteStreams(true)
		b.double.CutStreams()
		time.Sleep(20 * time.Second)
		byHand(t, b, 2)
		o := b.until(translateRef, "their count", func(o jobs.Observation) bool { return o.Count == 2 })
		if o.Change == nil || o.Change.Kind != jobs.ChangeCount {
			t.Errorf("got %+v, want it told as theirs", o.Change)
		}
	})
}

func TestADecisionOnAPictureThatSomebodyHasChangedSinceIsRefused(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.until(translateRef, "the job", func(o jobs.Observation) bool { return true }) // what is decided on
		byHand(t, b, 1)
		time.Sleep(time.Second) // the picture has it, the caller has not looked
		wantChanged(t, b.Scale(t.Context(), translateRef, 3, "decided on the old picture", nil))
		if n := len(scaleCalls(b)); n != 1 {
			t.Errorf("got %d scale calls, want theirs only", n)
		}
		b.observe(translateRef)
		b.scale(translateRef, 3)
	})
}
