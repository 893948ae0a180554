package fleettest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// Run runs every case of the contract, each over a fresh harness of newFleet.
func Run(t *testing.T, newFleet func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*bench)
	}{
		{"a job that was never ensured is unknown", unknownJob},
		{"an ensured job stands at count zero", ensuredAtZero},
		{"ensure again changes neither count nor allocations", ensureIsIdempotent},
		{"scaling fills the lowest indices and stops the highest first", scaleUpAndDown},
		{"scaling to the same count again changes nothing", scaleToSameCount},
		{"a negative count is refused", negativeCount},
		{"an allocation answers at its address", answersAtAddress},
		{"every life ends terminal and was in order", lifeInOrder},
		{"a crashed task is reported with its last words", crashHasLastWords},
		{"a fleet without room says why and places when there is room", blockedSaysWhy},
		{"a note changes nothing", noteChangesNothing},
		{"an allocation without devices has no GPU figures", noDevicesNoFigures},
		{"GPU figures are those of the devices that an allocation holds, and unknown is never zero", figuresOfOwnDevices},
		{"a job that somebody purged is not registered again until it is revived", purgedIsNotRegistered},
		{"a job that was seen once and is missing is not registered", seenAndMissing},
		{"a job that somebody stopped is known, says so, and starts nothing until it is revived", stoppedIsRespected},
		{"revive changes nothing of a job that may run", reviveOfARunningJob},
		{"a count that somebody else set is told as a change", countByHandIsTold},
		{"a version that somebody else registered is told as a change", deployIsTold},
		{"the fleet's own changes are nobody else's, also to another fleet", ownChangesAreOurs},
		{"a node that is drained is told of its allocations", drainIsTold},
		{"an allocation lost with its node is over, serves nothing, and is replaced", lostIsReplaced},
		{"a connection that is cut for a while loses and doubles nothing", cutLosesNothing},
		{"a scale during a deployment is refused as such", deploymentRefuses},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(start(t, newFleet(t))) })
	}
}

func unknownJob(b *bench) {
	_, err := b.Fleet.Observe(b.context(), b.Ref)
	if !b.Unknown(err) {
		b.t.Errorf("observe: got error %v, want one that says the job is unknown", err)
	}
	err = b.Fleet.Scale(b.context(), b.Ref, 1, "conformance suite", nil)
	if !b.Unknown(err) {
		b.t.Errorf("scale: got error %v, want one that says the job is unknown", err)
	}
}

func ensuredAtZero(b *bench) {
	for i := range b.Spec.Groups {
		b.Spec.Groups[i].Count = 2 // what the file says is for other ways of running it
	}
	b.ensure()
	o := b.until("count zero", func(o jobs.Observation) bool { return o.Count == 0 })
	if len(o.Allocations) != 0 || o.Blocked != "" {
		b.t.Errorf("got %+v, want no allocations and nothing blocked", o)
	}
}

func ensureIsIdempotent(b *bench) {
	b.ensure()
	b.scale(1)
	before := running(b.until("one running", func(o jobs.Observation) bool { return len(running(o)) == 1 }))

	other := *b.Spec
	other.Groups = slices.Clone(b.Spec.Groups)
	for i := range other.Groups {
		other.Groups[i].Count = 3
		other.Groups[i].ShutdownDelay += time.Second
	}
	for range 2 {
		if err := b.Fleet.Ensure(b.context(), &other, b.Ref, false); err != nil {
			b.t.Fatalf("ensure of a known job: %v", err)
		}
	}
	o := b.observe()
	if o.Count != 1 {
		b.t.Errorf("count after ensuring again: got %d, want 1", o.Count)
	}
	if diff := cmp.Diff(before, running(o)); diff != "" {
		b.t.Errorf("allocations changed by ensuring again (-before +after):\n%s", diff)
	}
}

func scaleUpAndDown(b *bench) {
	b.ensure()

	b.scale(2)
	two := running(b.until("two running", func(o jobs.Observation) bool { return len(running(o)) == 2 }))
	if diff := cmp.Diff([]int{0, 1}, indices(two)); diff != "" {
		b.t.Fatalf("indices at count 2 (-want +got):\n%s", diff)
	}
	if two[0].ID == two[1].ID || two[0].Address == two[1].Address {
		b.t.Fatalf("two allocations share an id or an address: %+v", two)
	}

	b.scale(1)
	one := b.until("one left", func(o jobs.Observation) bool { return live(o) == 1 })
	if left := running(one); len(left) != 1 || left[0].ID != two[0].ID || left[0].Index != 0 {
		b.t.Fatalf("at count 1: got %+v running, want only %s with index 0", left, two[0].ID)
	}

	b.scale(2)
	again := running(b.until("two running again", func(o jobs.Observation) bool { return len(running(o)) == 2 }))
	if diff := cmp.Diff([]int{0, 1}, indices(again)); diff != "" {
		b.t.Fatalf("indices back at count 2 (-want +got):\n%s", diff)
	}
	if again[0].ID != two[0].ID || again[1].ID == two[1].ID {
		b.t.Errorf("back at count 2: got %s and %s, want the first kept (%s) and the second new (not %s)",
			again[0].ID, again[1].ID, two[0].ID, two[1].ID)
	}

	b.scale(0)
	zero := b.until("all gone", func(o jobs.Observation) bool { return live(o) == 0 })
	if zero.Count != 0 {
		b.t.Errorf("count: got %d, want 0", zero.Count)
	}
}

func scaleToSameCount(b *bench) {
	b.ensure()
	b.scale(1)
	before := running(b.until("one running", func(o jobs.Observation) bool { return len(running(o)) == 1 }))
	b.scale(1)
	if diff := cmp.Diff(before, running(b.observe())); diff != "" {
		b.t.Errorf("allocations changed by the same count (-before +after):\n%s", diff)
	}
}

func negativeCount(b *bench) {
	b.ensure()
	if err := b.Fleet.Scale(b.context(), b.Ref, -1, "conformance suite", nil); err == nil {
		b.t.Error("scale to -1: got no error")
	}
	if o := b.observe(); o.Count != 0 {
		b.t.Errorf("count: got %d, want 0", o.Count)
	}
}

func answersAtAddress(b *bench) {
	if !b.Serves {
		b.t.Skip("the tasks of this fleet do not listen")
	}
	b.ensure()
	b.scale(1)
	o := b.until("an address", func(o jobs.Observation) bool {
		return len(o.Allocations) == 1 && o.Allocations[0].Address != ""
	})
	address := o.Allocations[0].Address
	deadline := time.NewTimer(b.Deadline)
	defer deadline.Stop()
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		status, err := get(b, address)
		if err == nil && status == http.StatusOK {
			return
		}
		select {
		case <-every.C:
		case <-deadline.C:
			b.t.Fatalf("GET http://%s/: status %d, error %v after %v", address, status, err, b.Deadline)
		}
	}
}

func get(b *bench, address string) (status int, err error) {
	req, err := http.NewRequestWithContext(b.context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func lifeInOrder(b *bench) {
	b.ensure()
	b.scale(1)
	a := running(b.until("one running", func(o jobs.Observation) bool { return len(running(o)) == 1 }))[0]
	switch {
	case a.Ref != b.Ref:
		b.t.Errorf("ref: got %s, want %s", a.Ref, b.Ref)
	case a.ID == "" || a.Node == "" || a.Address == "":
		b.t.Errorf("id, node and address are known of a running allocation; got %+v", a)
	case a.Created.IsZero() || a.Started.IsZero() || a.Started.Before(a.Created):
		b.t.Errorf("created %v, started %v: want both, in this order", a.Created, a.Started)
	case !a.Finished.IsZero() || a.Failure != "" || a.Restarts != 0:
		b.t.Errorf("a healthy allocation has no end, failure or restarts; got %+v", a)
	case !a.MayServe():
		b.t.Errorf("a running allocation may serve; got %+v", a)
	}
	b.scale(0)
	o := b.until("gone", func(o jobs.Observation) bool { return live(o) == 0 })
	for _, end := range o.Allocations {
		if end.ID != a.ID {
			b.t.Errorf("unexpected allocation %+v", end)
			continue
		}
		if end.Client != jobs.ClientComplete || end.Desired != jobs.DesiredStop || end.MayServe() {
			b.t.Errorf("a stopped allocation is complete, unwanted, and may not serve; got %+v", end)
		}
		if end.Finished.Before(end.Started) {
			b.t.Errorf("finished %v before it started %v", end.Finished, end.Started)
		}
	}
}

func crashHasLastWords(b *bench) {
	if b.Crash == nil {
		b.t.Skip("this fleet cannot be made to crash a task")
	}
	b.ensure()
	b.scale(1)
	a := running(b.until("one running", func(o jobs.Observation) bool { return len(running(o)) == 1 }))[0]
	words := b.Crash(b.t, a)
	if words == "" {
		b.t.Fatal("the harness promised last words and gave none")
	}
	b.until("the crash, with "+words, func(o jobs.Observation) bool {
		i := slices.IndexFunc(o.Allocations, func(x jobs.Allocation) bool { return x.ID == a.ID })
		return i >= 0 && o.Allocations[i].Client == jobs.ClientFailed && strings.Contains(o.Allocations[i].Failure, words)
	})
}

func blockedSaysWhy(b *bench) {
	if b.Block == nil {
		b.t.Skip("this fleet cannot be made to run out of room")
	}
	b.ensure()
	release := b.Block(b.t)
	b.scale(1)
	o := b.until("a reason", func(o jobs.Observation) bool { return o.Blocked != "" })
	if o.Count != 1 || live(o) != 0 {
		b.t.Errorf("while blocked: got count %d and %d live, want 1 wanted and none live", o.Count, live(o))
	}
	release()
	b.until("placed once there is room", func(o jobs.Observation) bool { return o.Blocked == "" && len(running(o)) == 1 })
}
