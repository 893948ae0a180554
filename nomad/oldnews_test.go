package nomad

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

func TestTheNewestOfSeveralBlockedEvaluationsSaysWhatIsInTheWay(t *testing.T) {
	of := func(index uint64, words string) *api.Evaluation {
		return &api.Evaluation{Namespace: "default", JobID: "translate", Status: api.EvalStatusBlocked, StatusDescription: words,
			ModifyIndex: index, FailedTGAllocs: map[string]*api.AllocationMetric{"server": {}}}
	}
	for _, evals := range [][]*api.Evaluation{{of(1, "old"), of(2, "new")}, {of(2, "new"), of(1, "old")}} {
		if got := newestBlocked(evals)[groupKey{translateKey, "server"}].description; got != "new" {
			t.Errorf("got the %s one", got)
		}
	}
}

// onNode returns a picture with one allocation on node n.
func onNode() *picture {
	p := known(1)
	s := stub("a", 20, jobs.ClientRunning)
	s.NodeID = "n"
	p.applyAlloc(s)
	p.takeDirty()
	return p
}

func TestOlderNewsOfANodeIsDropped(t *testing.T) {
	p := onNode()
	p.applyNode("n", nodeFacts{draining: true, index: 30})
	p.applyNode("n", nodeFacts{index: 29})
	if !p.must(t).Allocations[0].NodeDraining {
		t.Error("old news ended the drain")
	}
	p.applyNode("n", nodeFacts{index: 31})
	p.applyNode("n", nodeFacts{draining: true, index: 30})
	if p.must(t).Allocations[0].NodeDraining {
		t.Error("old news began the drain again")
	}
}

func TestADrainThatIsOverIsForgottenAndNotBroughtBack(t *testing.T) {
	p := onNode()
	node := []*api.NodeListStub{{ID: "n", Drain: true, ModifyIndex: 30}}
	p.applyDraining(node, 30, true)
	p.applyDraining(nil, 31, true)
	if len(p.nodes) != 0 {
		t.Errorf("%d nodes are kept, want none", len(p.nodes))
	}
	p.applyNode("n", nodeFacts{draining: true, index: 30}) // a server that returns tells its old events again,
	p.applyDraining(node, 30, true)                        // or answers with an old list
	if p.must(t).Allocations[0].NodeDraining {
		t.Error("old news brought the drain back")
	}
	p.applyNode("n", nodeFacts{draining: true, index: 32})
	if !p.must(t).Allocations[0].NodeDraining {
		t.Error("a new drain is not seen")
	}
}

func TestOlderNewsOfADeploymentIsDropped(t *testing.T) {
	p := known(1)
	of := func(index uint64, status string) *api.Deployment {
		return &api.Deployment{ID: "d-12345678", Namespace: "default", JobID: "translate", ModifyIndex: index, Status: status}
	}
	p.applyDeployment(of(20, api.DeploymentStatusSuccessful))
	p.applyDeployment(of(19, api.DeploymentStatusRunning))
	p.applyDeployment(of(20, api.DeploymentStatusRunning))
	if got := p.must(t).Deployment; got != "" {
		t.Errorf("old news brought it back: %s", got)
	}
}

func TestOneJobIsLearnedAboutOnceAtATime(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		time.Sleep(10 * time.Second)
		end, err := b.turn(t.Context(), translateKey) // as a scale call that hangs
		if err != nil {
			t.Fatal(err)
		}
		for version := range uint64(50) {
			b.learnOf(translateKey, version+10)
			synctest.Wait()
		}
		b.mu.Lock()
		users := b.turns[translateKey].users
		b.mu.Unlock()
		if users != 2 {
			t.Errorf("%d wait for the job's turn or have it, want the call and one who learns", users)
		}
		reads := len(b.double.Calls("GET", "/v1/job/translate"))
		end()
		time.Sleep(time.Second)
		if got := len(b.double.Calls("GET", "/v1/job/translate")) - reads; got == 0 || got > 3 {
			t.Errorf("read %d times after it, want what came last learned", got)
		}
		if n := len(b.pic.learning) + len(b.pic.unlearned); n != 0 {
			t.Errorf("%d left to learn", n)
		}
	})
}

func TestWithoutTheRightToReadNodesTheReasonIsSaidAndNoWarningRepeated(t *testing.T) {
	inBubble(t, gpus(1), func(t *testing.T, b *bubble) {
		rights := least("default")
		rights.NodeRead = false
		b.double.SetToken("", rights)
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 2)
		b.until(translateRef, "why", func(o jobs.Observation) bool { return o.Blocked != "" })
		nodes := func() (n int) {
			for _, c := range b.double.Calls("GET", "/v1/nodes") {
				if c.Query.Has("resources") {
					n++
				}
			}
			return n
		}
		time.Sleep(10 * time.Minute)
		if n := nodes(); n > 1 {
			t.Errorf("nodes were asked for %d times without the right to", n)
		}
	})
}

func TestAFailureIsNewOnceUntilAllIsWell(t *testing.T) {
	var told sayings
	var logged int
	for i := range 100 { // two take turns, and one differs each time
		for _, err := range []error{errSilent, errBack, fmt.Errorf("port %d", i)} {
			if told.isNew(err) {
				logged++
			}
		}
	}
	if logged != maxSayings || !told.any() {
		t.Errorf("%d were new, want %d at most", logged, maxSayings)
	}
	told.over()
	if told.any() || !told.isNew(errSilent) {
		t.Error("after all was well it is not new")
	}
}
