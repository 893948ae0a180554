package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

func topicsOf(events []event) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.topic+" "+e.service+" "+string(e.data))
	}
	return out
}

func TestAReaderThatComesBackGetsWhatItMissed(t *testing.T) {
	f := newFeed()
	for i := range 5 {
		f.publish(topicStatus, "a", []byte(strconv.Itoa(i+1)))
	}
	_, missed, reset := f.join(f.id(3), nil, "")
	if diff := cmp.Diff([]string{"status a 4", "status a 5"}, topicsOf(missed)); diff != "" || reset {
		t.Errorf("reset %v, missed (-want +got):\n%s", reset, diff)
	}
	if _, missed, reset := f.join(f.id(5), nil, ""); len(missed) != 0 || reset {
		t.Errorf("at the end: %v, reset %v", topicsOf(missed), reset)
	}
	if _, missed, reset := f.join("", nil, ""); len(missed) != 0 || reset {
		t.Errorf("a new reader: %v, reset %v", topicsOf(missed), reset)
	}
}

func TestAReaderIsToldToReadAgainWhenEventsMayBeMissing(t *testing.T) {
	f := newFeed()
	for i := range ringSize + 10 {
		f.publish(topicStatus, "a", []byte(strconv.Itoa(i+1)))
	}
	if len(f.ring) != ringSize {
		t.Errorf("the ring holds %d, want %d", len(f.ring), ringSize)
	}
	for id, want := range map[string]bool{
		f.id(10): false, f.id(9): true, f.id(ringSize + 11): true, "otherone-5": true, "nonsense": true, f.epoch + "-x": true,
	} {
		_, missed, reset := f.join(id, nil, "")
		if reset != want {
			t.Errorf("after %s: reset %v, want %v", id, reset, want)
		}
		if !want && len(missed) != ringSize {
			t.Errorf("after %s: %d missed, want the whole ring", id, len(missed))
		}
	}
}

func TestASlowReaderIsDroppedAndTheOthersGoOn(t *testing.T) {
	f := newFeed()
	slow, _, _ := f.join("", nil, "")
	quick, _, _ := f.join("", nil, "")
	for i := range readerRoom + 1 {
		f.publish(topicStatus, "a", nil)
		if e := <-quick.events; e.sequence != uint64(i+1) {
			t.Fatalf("the quick reader got %d, want %d", e.sequence, i+1)
		}
	}
	for range readerRoom {
		if _, open := <-slow.events; !open {
			t.Fatal("dropped before it was full")
		}
	}
	if _, open := <-slow.events; open {
		t.Error("the slow reader was not dropped")
	}
	f.leave(slow) // what its handler does after
}

func TestAReaderGetsOnlyWhatItAskedFor(t *testing.T) {
	f := newFeed()
	r, _, _ := f.join("", []string{topicStatus, topicPoint}, "a")
	f.publish(topicStatus, "a", []byte("1"))
	f.publish(topicStatus, "b", []byte("2"))
	f.publish(topicDecision, "a", []byte("3"))
	f.mention(topicPoint, "a", []byte("4"))
	var got []event
	for len(r.events) > 0 {
		got = append(got, <-r.events)
	}
	if diff := cmp.Diff([]string{"status a 1", "point a 4"}, topicsOf(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !f.wanted(topicPoint, "a") || f.wanted(topicPoint, "b") || f.wanted(topicColdStart, "a") {
		t.Error("what is wanted is not what was asked for")
	}
}

// received drains what a reader has.
func received(r *reader) []event {
	var got []event
	for len(r.events) > 0 {
		got = append(got, <-r.events)
	}
	return got
}

func TestTheStreamSaysWhatChangedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, services, store := newTestServer(t)
		now := time.Now()
		services.set(func(f *fakeServices) {
			f.statuses = []jobs.Status{readyStatus("translate", now)}
			f.starts = []jobs.ColdStart{coldStart("translate", "old", now.Add(-time.Hour), 1, 2, 3)}
			f.decided = []decide.Decision{{Service: "translate", At: now.Add(-time.Hour), To: 1}}
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		r, _, _ := s.feed.join("", nil, "") // before the first look is told
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		if got := received(r); len(got) != 1 || got[0].topic != topicStatus {
			t.Fatalf("at first: %v, want one status", topicsOf(got))
		}

		announce := func(what string, want ...string) {
			t.Helper()
			time.Sleep(2 * gatherFor)
			synctest.Wait()
			var got []string
			for _, e := range received(r) {
				got = append(got, e.topic+" "+e.service)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}

		time.Sleep(time.Second)
		services.set(func(f *fakeServices) { f.statuses[0].At = time.Now() })
		services.announced <- change{topicStatus, "translate"}
		announce("the same report again is no news")

		services.set(func(f *fakeServices) { f.statuses[0].Demand.InFlight = 7 })
		services.announced <- change{topicStatus, "translate"}
		services.announced <- change{topicStatus, ""}
		announce("a figure changed, announced twice", "status translate")

		services.set(func(f *fakeServices) {
			f.decided = append([]decide.Decision{{Service: "translate", At: time.Now(), From: 1, To: 2}}, f.decided...)
		})
		services.announced <- change{topicDecision, "translate"}
		announce("a decision; the old one is not told again", "decision translate")
		services.announced <- change{topicDecision, "translate"}
		announce("no new decision")

		services.set(func(f *fakeServices) {
			at, before := time.Now(), time.Now().Add(-time.Millisecond)
			f.decided = append([]decide.Decision{{Service: "translate", At: at, Rule: "pinned"}, {Service: "translate", At: at, Rule: "by-hand"}}, f.decided...)
			f.decided = append(f.decided, decide.Decision{Service: "translate", At: before, Rule: "operator"})
		})
		services.announced <- change{topicDecision, "translate"}
		announce("two of one moment, and one that was stored late", "decision translate", "decision translate", "decision translate")

		services.set(func(f *fakeServices) {
			long := coldStart("translate", "long", now, float64(time.Hour.Milliseconds()))
			short := coldStart("translate", "short", now.Add(time.Second), float64(time.Hour.Milliseconds()))
			f.starts = append([]jobs.ColdStart{short, long}, f.starts...)
		})
		services.announced <- change{topicColdStart, "translate"}
		announce("two overlapping cold starts", "coldstart translate", "coldstart translate")
		services.announced <- change{topicColdStart, ""}
		announce("no new cold start")

		services.set(func(f *fakeServices) { f.points["translate"] = []jobs.Point{{At: time.Now(), Held: 4}} })
		services.announced <- change{topicPoint, "translate"}
		announce("a point", "point translate")

		if _, err := store.Put(t.Context(), "translate", translateText+"# more\n", 1, "grace", "why"); err != nil {
			t.Fatal(err)
		}
		announce("a policy; the status of a service keeps the version that the scaler obeys", "policy translate")

		services.set(func(f *fakeServices) { f.statuses = nil }) // before the stream may look
		if _, err := store.Delete(t.Context(), "translate", 2, "grace", "unused"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * gatherFor)
		synctest.Wait()
		gone := map[string]string{}
		for _, e := range received(r) {
			gone[e.topic] = string(e.data)
		}
		if !strings.Contains(gone[topicPolicy], `"deleted":true`) || !strings.Contains(gone[topicPolicy], `"author":"grace"`) || !strings.Contains(gone[topicStatus], `"gone":true`) {
			t.Errorf("after a deletion: %v", gone)
		}

		stop()
		if err := <-ended; err != context.Canceled {
			t.Errorf("Run ended with %v", err)
		}
		if _, open := <-r.events; open {
			t.Error("the stream outlived Run")
		}
	})
}

func TestWhatWasNotAnnouncedIsFoundAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, services, _ := newTestServer(t)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		r, _, _ := s.feed.join("", []string{topicStatus}, "")
		synctest.Wait()
		received(r)
		services.set(func(f *fakeServices) { f.statuses = []jobs.Status{readyStatus("translate", time.Now())} })
		time.Sleep(repairEvery + time.Second)
		synctest.Wait()
		if got := received(r); len(got) != 1 {
			t.Errorf("%d events, want 1", len(got))
		}
		// With no report any more, the figures become old: that is news too.
		time.Sleep(staleAfter + 2*repairEvery)
		synctest.Wait()
		if got := received(r); len(got) != 1 || !strings.Contains(string(got[0].data), `"stale":true`) {
			t.Errorf("of staleness: %v", topicsOf(got))
		}
		stop()
		<-ended
	})
}

// unreadable is a store whose policies cannot be read while it is down; what it
// announces is heard.
type unreadable struct {
	policies.Store
	down atomic.Bool
}

func (u *unreadable) List(ctx context.Context) ([]policies.Version, error) {
	if u.down.Load() {
		return nil, errors.New("redis: connection refused")
	}
	return u.Store.List(ctx)
}

func TestWhatCouldNotBeReadIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shelf *unreadable
		s, services, store := newTestServer(t, func(c *Config) {
			shelf = &unreadable{Store: c.Policies}
			c.Policies = shelf
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		r, _, _ := s.feed.join("", []string{topicPolicy, topicDecision}, "")
		time.Sleep(time.Second)
		synctest.Wait()
		received(r)

		shelf.down.Store(true)
		services.set(func(f *fakeServices) {
			f.decided = []decide.Decision{{Service: "translate", At: time.Now(), To: 1}}
			f.err = errors.New("redis: connection refused")
		})
		if _, err := store.Put(t.Context(), "translate", translateText+"# more\n", 1, "grace", "why"); err != nil {
			t.Fatal(err)
		}
		services.announced <- change{topicDecision, "translate"}
		time.Sleep(2 * repairEvery)
		synctest.Wait()
		if got := received(r); len(got) != 0 {
			t.Fatalf("while nothing can be read: %v", topicsOf(got))
		}

		shelf.down.Store(false)
		services.set(func(f *fakeServices) { f.err = nil })
		time.Sleep(repairEvery + time.Second)
		synctest.Wait()
		got := map[string]int{}
		for _, e := range received(r) {
			got[e.topic]++
		}
		if diff := cmp.Diff(map[string]int{topicPolicy: 1, topicDecision: 1}, got); diff != "" {
			t.Errorf("events when it can be read again (-want +got):\n%s", diff)
		}
		stop()
		<-ended
	})
}

// sent is an event as a browser reads it.
type sent struct{ ID, Event, Data string }

// readStream reads n events.
func readStream(t *testing.T, body *bufio.Reader, n int) []sent {
	t.Helper()
	var out []sent
	var e sent
	for len(out) < n {
		line, err := body.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended after %v: %v", out, err)
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "id":
			e.ID = value
		case "event":
			e.Event = value
		case "data":
			e.Data = value
		case "":
			if e.Event != "" {
				out = append(out, e)
			}
			e = sent{}
		}
	}
	return out
}

func TestTheStreamResumesOverHTTPByLastEventID(t *testing.T) {
	s, _, _ := newTestServer(t)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	open := func(header, query string) (*bufio.Reader, func()) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+eventsPath+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Last-Event-ID", header)
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type %q", got)
		}
		return bufio.NewReader(answer.Body), func() { answer.Body.Close() }
	}

	body, done := open("", "")
	hello := readStream(t, body, 1)[0]
	if hello.Event != topicBeat || hello.ID != s.feed.id(0) {
		t.Errorf("first word %+v, want a beat with an id to come back with", hello)
	}
	s.feed.publish(topicStatus, "a", []byte(`{"n":1}`))
	first := readStream(t, body, 1)[0]
	done()
	if diff := cmp.Diff(sent{s.feed.id(1), topicStatus, `{"n":1}`}, first); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	s.feed.publish(topicStatus, "a", []byte(`{"n":2}`))
	s.feed.publish(topicDecision, "a", []byte(`{"n":3}`))
	for name, where := range map[string][2]string{"header": {first.ID, ""}, "query": {"", "?last_event_id=" + first.ID}} {
		body, done := open(where[0], where[1])
		got := readStream(t, body, 2)
		done()
		if diff := cmp.Diff([]sent{{s.feed.id(2), topicStatus, `{"n":2}`}, {s.feed.id(3), topicDecision, `{"n":3}`}}, got); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", name, diff)
		}
	}

	body, done = open("", "?topics=decision&last_event_id="+first.ID)
	if got := readStream(t, body, 1)[0]; got.Event != topicDecision {
		t.Errorf("with ?topics=decision: %+v", got)
	}
	done()
	body, done = open("before-7", "")
	if got := readStream(t, body, 1)[0]; got.Event != topicReset || got.ID != s.feed.id(3) {
		t.Errorf("after an id of another process: %+v, want reset with the present id", got)
	}
	done()

	body, done = open("", "")
	defer done()
	readStream(t, body, 1)
	s.feed.close()
	if _, err := body.ReadString('\x00'); err == nil {
		t.Error("the stream goes on after the feed has ended")
	}
}

func TestEventsAreOneLineOfJSON(t *testing.T) {
	f := newFeed()
	data, err := json.Marshal(map[string]string{"reason": "two\nlines"})
	if err != nil {
		t.Fatal(err)
	}
	text := string(f.wire(event{sequence: 1, topic: topicDecision, data: data}, ""))
	if got := strings.Count(strings.TrimSpace(text), "\n"); got != 2 {
		t.Errorf("%d line ends within an event, want 2:\n%s", got, text)
	}
}
