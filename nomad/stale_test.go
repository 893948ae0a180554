package nomad

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

// follower stands between the Fleet and the double as a server that follows a
// leader. Without one it answers as Nomad does: reads fail after five seconds,
// stale ones answer from its own past, the stream goes on beating.
type follower struct {
	leader http.Handler
	lost   atomic.Bool // it hears no leader
	bare   atomic.Bool // and then answers plain reads as if they were stale ones
	mu     sync.Mutex
	past   map[string][]byte // what it last answered
	index  map[string]string
}

func follow(double http.Handler) *follower {
	return &follower{leader: double, past: make(map[string][]byte), index: make(map[string]string)}
}

func (s *follower) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/event/stream" {
		s.stream(w, r)
		return
	}
	q := r.URL.Query()
	key := r.URL.Path + "?" + q.Get("filter")
	if !s.lost.Load() {
		rec := &recorder{ResponseWriter: w}
		s.leader.ServeHTTP(rec, r)
		s.mu.Lock()
		s.past[key], s.index[key] = rec.body.Bytes(), w.Header().Get("X-Nomad-Index")
		s.mu.Unlock()
		return
	}
	if _, stale := q["stale"]; !stale && !s.bare.Load() {
		select {
		case <-time.After(5200 * time.Millisecond):
			http.Error(w, "No cluster leader", http.StatusInternalServerError)
		case <-r.Context().Done():
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("X-Nomad-Index", s.index[key])
	w.Header().Set("X-Nomad-KnownLeader", "false")
	w.Header().Set("X-Nomad-LastContact", "9223372036854")
	if s.past[key] == nil {
		http.Error(w, "job not found", http.StatusNotFound)
		return
	}
	_, _ = w.Write(s.past[key])
}

// stream passes on what the leader tells while there is one, and beats always.
func (s *follower) stream(w http.ResponseWriter, r *http.Request) {
	if !s.lost.Load() {
		s.leader.ServeHTTP(&silenced{ResponseWriter: w, lost: &s.lost}, r)
		return
	}
	for r.Context().Err() == nil {
		_, _ = w.Write([]byte("{}\n"))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(30 * time.Second):
		case <-r.Context().Done():
		}
	}
}

// silenced passes heartbeats on only, once there is no leader.
type silenced struct {
	http.ResponseWriter
	lost *atomic.Bool
}

func (w *silenced) Write(b []byte) (int, error) {
	if w.lost.Load() && strings.TrimSpace(string(b)) != "{}" {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

func (w *silenced) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type recorder struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

func TestAStreamThatOnlyBeatsDoesNotKeepThePictureYoung(t *testing.T) {
	var server *follower
	via := func(double http.Handler) http.Handler { server = follow(double); return server }
	inBubbleVia(t, gpus(2), via, func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		time.Sleep(time.Minute)
		if age := time.Since(b.observe(translateRef).At); age > checkEvery+time.Second {
			t.Fatalf("at rest the picture is %v old, want at most %v", age, checkEvery)
		}
		server.lost.Store(true)
		left := time.Now()
		time.Sleep(3 * time.Minute)
		o := b.observe(translateRef)
		if at, streaming := b.Heard(); at.After(left) || !streaming || !o.At.Equal(at) {
			t.Errorf("heard %v after the leader went (streaming %v, picture of %v), want not since, over a stream that beats", at.Sub(left), streaming, o.At)
		}
		if running(o) != 1 {
			t.Errorf("got %+v, want the replica still there", o.Allocations)
		}
		if b.believed(translateKey) {
			t.Error("a picture that old is believed without asking")
		}
		server.lost.Store(false)
		time.Sleep(20 * time.Second)
		if age := time.Since(b.observe(translateRef).At); age > checkEvery+time.Second {
			t.Errorf("the leader is back, and the picture is %v old", age)
		}
	})
}

func TestAServerThatAnswersStaleTakesNothingAwayAndIsNotFresh(t *testing.T) {
	for _, bare := range []bool{false, true} {
		t.Run(fmt.Sprintf("unasked %v", bare), func(t *testing.T) {
			var server *follower
			via := func(double http.Handler) http.Handler { server = follow(double); return server }
			inBubbleVia(t, gpus(2), via, func(t *testing.T, b *bubble) {
				b.watch()
				b.ensure(parse(t, translate), translateRef)
				time.Sleep(40 * time.Second) // lists of an empty group are what it remembers
				b.scale(translateRef, 2)
				b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 2 })
				server.lost.Store(true)
				server.bare.Store(bare)
				b.double.CutStreams()
				left := time.Now()
				time.Sleep(2 * time.Minute)
				o := b.observe(translateRef)
				if running(o) != 2 || o.Count != 2 {
					t.Errorf("got %+v, want both replicas still there", o)
				}
				if o.At.After(left) {
					t.Errorf("the picture is said to be of %v after the leader went", o.At.Sub(left))
				}
			})
		})
	}
}

func TestAProcessThatStartsWithoutALeaderLearnsWhatAStaleServerKnows(t *testing.T) {
	var server *follower
	via := func(double http.Handler) http.Handler { server = follow(double); return server }
	inBubbleVia(t, gpus(2), via, func(t *testing.T, b *bubble) {
		stop := b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 1)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
		time.Sleep(time.Minute)
		stop()
		server.lost.Store(true)
		b.Fleet = b.another()
		b.watch()
		if _, err := b.Observe(t.Context(), translateRef); err == nil || errors.Is(err, jobs.ErrUnknownJob) {
			t.Errorf("first answer: got %v, want that Nomad cannot be asked", err)
		}
		time.Sleep(time.Minute)
		o := b.observe(translateRef)
		if running(o) != 1 || !o.At.IsZero() {
			t.Errorf("got %+v, want the replica that it knows, and no time at which Nomad was heard", o)
		}
	})
}

// switchable passes requests on to one server after another.
type switchable struct {
	to atomic.Pointer[nomaddouble.Server]
}

func (s *switchable) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.to.Load().ServeHTTP(w, r) }

func TestAnIndexThatWentBackIsBelievedWhenAllAnswersAgree(t *testing.T) {
	s := new(switchable)
	via := func(double http.Handler) http.Handler { s.to.Store(double.(*nomaddouble.Server)); return s }
	inBubbleVia(t, gpus(2), via, func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		for _, n := range []int{1, 2, 1, 2} { // its index grows
			b.scale(translateRef, n)
			b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == n })
		}
		time.Sleep(time.Minute)
		former := b.double
		before := b.observe(translateRef).Allocations

		// Another cluster answers, in which the same job has one replica.
		other := nomaddouble.New(gpus(1))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { _ = other.Run(ctx) })
		s.to.Store(other)
		fresh := b.another()
		if err := fresh.Ensure(t.Context(), parse(t, translate), translateRef, false); err != nil {
			t.Fatal(err)
		}
		if err := fresh.Scale(t.Context(), translateRef, 1, "another cluster", nil); err != nil {
			t.Fatal(err)
		}
		former.CutStreams()
		began := time.Now()
		time.Sleep(backFor / 2)
		synctest.Wait()
		if o := b.observe(translateRef); running(o) < 2 {
			t.Errorf("after %v: got %+v, want that one answer from the past takes nothing away", backFor/2, o.Allocations)
		}
		o := b.until(translateRef, "its one replica and no other", func(o jobs.Observation) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].ID != before[0].ID && running(o) == 1
		})
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("seen after %v", took)
		}
		if o.Count != 1 {
			t.Errorf("got count %d, want 1", o.Count)
		}
		cancel()
		other.CutStreams()
		wg.Wait()
	})
}

func TestAfterARestoreAnOperatorsChangeIsNotTakenForOurs(t *testing.T) {
	s := new(switchable)
	via := func(double http.Handler) http.Handler { s.to.Store(double.(*nomaddouble.Server)); return s }
	inBubbleVia(t, gpus(4), via, func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		for _, n := range []int{1, 2, 1, 2, 1} { // versions 1 to 5, all of them Pilotlight's
			b.scale(translateRef, n)
			b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == n })
		}
		time.Sleep(time.Minute)
		former, known := b.double, b.pic.jobs[translateKey].info

		// The state is restored as it was at version 1, and an operator scales then.
		restored := nomaddouble.New(gpus(4))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { _ = restored.Run(ctx) })
		s.to.Store(restored)
		then := b.another()
		if err := then.Ensure(t.Context(), parse(t, translate), translateRef, false); err != nil {
			t.Fatal(err)
		}
		if err := then.Scale(t.Context(), translateRef, 1, "before the restore", nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := then.client.Jobs().Scale("translate", "server", new(3), "an operator", false, nil, nil); err != nil {
			t.Fatal(err)
		}
		former.CutStreams()
		o := b.until(translateRef, "the operator's count", func(o jobs.Observation) bool { return o.Count == 3 })
		if now := b.pic.jobs[translateKey].info; now.created != known.created || now.version >= known.version {
			t.Fatalf("the test restores nothing: had version %d of job %d, has %d of %d", known.version, known.created, now.version, now.created)
		}
		if o.Change == nil || o.Change.By != "an operator" || o.Change.Count != 3 {
			t.Errorf("got change %+v, want the operator's", o.Change)
		}
		cancel()
		restored.CutStreams()
		wg.Wait()
	})
}

func TestWhileNoIndexIsKnownNothingIsScaledUncompared(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		time.Sleep(10 * time.Second)
		high := tables{allocs: 1 << 40, jobs: 1 << 40}
		b.pic.judge(tables{}, high, time.Now().Add(-backFor))
		b.pic.judge(tables{}, high, time.Now()) // believed, and the job is not read again yet
		b.scale(translateRef, 2)
		for _, c := range b.double.Calls("PUT", "/v1/job/translate/scale") {
			var body struct {
				Count          *int
				JobModifyIndex uint64
			}
			if err := json.Unmarshal(c.Body, &body); err != nil {
				t.Fatal(err)
			}
			if body.Count != nil && body.JobModifyIndex == 0 {
				t.Errorf("a count was set without comparing: %s", c.Body)
			}
		}
	})
}

func TestCallsAtRestDoNotGrowWithTheServices(t *testing.T) {
	perMinute := make(map[int]int)
	for _, services := range []int{1, 200} {
		inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
			b.watch()
			for i := range services {
				id := fmt.Sprintf("service-%d", i)
				b.ensure(parse(t, strings.Replace(translate, `job "translate"`, fmt.Sprintf("job %q", id), 1)),
					jobs.Ref{Namespace: "default", Job: id, Group: "server"})
			}
			time.Sleep(2 * time.Minute)
			before := len(b.double.Calls("", ""))
			const minutes = 10
			time.Sleep(minutes * time.Minute)
			perMinute[services] = (len(b.double.Calls("", "")) - before) / minutes
		})
	}
	t.Logf("calls per minute at rest: %v (services: calls), and one event stream", perMinute)
	if perMinute[1] != perMinute[200] || perMinute[1] > 20 {
		t.Errorf("got %v calls per minute, want the same few however many services", perMinute)
	}
}

func TestWithoutTheRightToReadNodesEverythingElseIsSeen(t *testing.T) {
	var streams atomic.Int32
	via := func(double http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/v1/nodes":
				http.Error(w, "Permission denied", http.StatusForbidden)
			case strings.Contains(r.URL.RawQuery, "topic=Node"): // as Nomad refuses it
				streams.Add(1)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			default:
				double.ServeHTTP(w, r)
			}
		})
	}
	inBubbleVia(t, gpus(2), via, func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		time.Sleep(time.Minute)
		if _, streaming := b.Heard(); !streaming || streams.Load() != 0 {
			t.Fatalf("streaming %v, asked %d times for what it may not hear", streaming, streams.Load())
		}
		b.scale(translateRef, 1)
		b.until(translateRef, "running", func(o jobs.Observation) bool { return running(o) == 1 })
	})
}
