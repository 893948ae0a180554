package nomad

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

func wantChanged(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, jobs.ErrChanged) {
		t.Errorf("got %v, want jobs.ErrChanged", err)
	}
}

// losing is a network that does what it is asked and then loses the answer.
type losing struct {
	next http.RoundTripper
	lose func(*http.Request) (*http.Response, error) // both nil: it does not
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if other, lost := l.lose(r); other != nil || lost != nil {
		resp.Body.Close()
		return other, lost
	}
	return resp, nil
}

// once loses the answer of the next scale call, after before has run.
func once(how func(*http.Request) (*http.Response, error), before func()) func(*http.Request) (*http.Response, error) {
	var done atomic.Bool
	return func(r *http.Request) (*http.Response, error) {
		if r.Method != "PUT" || !strings.HasSuffix(r.URL.Path, "/scale") || done.Swap(true) {
			return nil, nil
		}
		before()
		return how(r)
	}
}

var lost = map[string]func(*http.Request) (*http.Response, error){
	"the connection was cut": func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	"a 500 after the write": func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 500, Status: "500", Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader("rpc error: rpc error: leadership lost while committing log"))}, nil
	},
	"no answer in time": func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	},
}

func TestAScaleWhoseAnswerIsLostIsSeenAsDoneAndAsOurs(t *testing.T) {
	for how, lose := range lost {
		t.Run(how, func(t *testing.T) {
			inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
				b.ensure(parse(t, translate), translateRef)
				b.http.Transport = &losing{b.http.Transport, once(lose, func() {})}
				b.watch()
				b.observe(translateRef)
				b.double.Fail(1000, "GET", scalePath, 404, "job not found") // the server went before it wrote the event
				b.scale(translateRef, 2)
				if n := len(scaleCalls(b)); n != 1 {
					t.Errorf("got %d scale calls, want 1", n)
				}
				o := b.until(translateRef, "two running", func(o jobs.Observation) bool { return running(o) == 2 })
				if len(o.Allocations) != 2 || o.Change != nil {
					t.Errorf("got %d allocations and change %+v, want 2 and none", len(o.Allocations), o.Change)
				}
			})
		})
	}
}

func TestAScaleWhoseAnswerIsLostIsNotRepeatedOverSomebodyElses(t *testing.T) {
	for how, lose := range lost {
		t.Run(how, func(t *testing.T) {
			inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
				b.ensure(parse(t, translate), translateRef)
				plain := *b.http
				operator := b.Fleet // sends over the same client until it is replaced
				b.http = &http.Client{Transport: &losing{plain.Transport, once(lose, func() { byHand(t, &bubble{Fleet: operator}, 1) })}}
				b.Fleet = b.another()
				b.watch()
				b.observe(translateRef)
				wantChanged(t, b.Scale(t.Context(), translateRef, 2, "ours", nil))
				if o := b.observe(translateRef); o.Count != 1 || o.Change == nil {
					t.Errorf("got count %d and change %+v, want theirs", o.Count, o.Change)
				}
			})
		})
	}
}

func TestWithoutALeaderAScaleSaysSoInTheEnd(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		b.double.Fail(1000, "", "", 500, "No cluster leader")
		began := time.Now()
		err := b.Scale(t.Context(), translateRef, 1, "", nil)
		if err == nil || !strings.Contains(err.Error(), "No cluster leader") || !strings.Contains(err.Error(), "given up after") {
			t.Errorf("got %v, want Nomad's own words and that it was given up", err)
		}
		if took := time.Since(began); took < retryFor/2 || took > scaleTimeout {
			t.Errorf("gave up after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Scale(ctx, translateRef, 1, "", nil); err == nil || !strings.Contains(err.Error(), "No cluster leader") {
			t.Errorf("when the caller's own deadline has passed: got %v, want Nomad's own words", err)
		}
	})
}

func TestADeniedWriteNamesWhatTheTokenLacks(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		s := parse(t, translate)
		deny := func(method, path string) { b.double.Fail(1, method, path, 403, "Permission denied") }
		want := func(err error, capability string) {
			t.Helper()
			if !errors.Is(err, jobs.ErrDenied) || !strings.Contains(err.Error(), capability+` in namespace "default"`) {
				t.Errorf("got %v, want jobs.ErrDenied and %s", err, capability)
			}
		}
		deny("GET", "/v1/job/translate")
		want(b.Ensure(t.Context(), s, translateRef, false), "read-job")
		deny("PUT", "/v1/jobs/parse")
		want(b.Ensure(t.Context(), s, translateRef, false), "parse-job")
		deny("PUT", "/v1/jobs")
		want(b.Ensure(t.Context(), s, translateRef, false), "submit-job")
		b.ensure(s, translateRef)
		deny("PUT", scalePath)
		want(b.Scale(t.Context(), translateRef, 1, "", nil), "scale-job")
		deny("PUT", scalePath)
		want(b.Note(t.Context(), translateRef, "a note", nil), "scale-job")
		if _, _, err := b.client.Jobs().Deregister("translate", false, nil); err != nil {
			t.Fatal(err)
		}
		deny("PUT", "/v1/jobs")
		want(b.Revive(t.Context(), s, translateRef, "a test"), "submit-job")
		if n := len(scaleCalls(b)); n != 1 {
			t.Errorf("got %d scale calls, want 1: a denied one is not tried again", n)
		}
	})
}

func TestANoteIsAnErrorWhileTheGroupCannotBePlaced(t *testing.T) {
	inBubble(t, gpus(1), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 2)
		o := b.until(translateRef, "a reason", func(o jobs.Observation) bool { return o.Blocked != "" })
		for range 3 {
			if err := b.Note(t.Context(), translateRef, o.Blocked, nil); err != nil {
				t.Fatal(err)
			}
		}
		var notes []nomaddouble.Call
		for _, c := range b.double.Calls("PUT", scalePath) {
			if strings.Contains(string(c.Body), o.Blocked) {
				notes = append(notes, c)
			}
		}
		if len(notes) != 1 || !strings.Contains(string(notes[0].Body), `"Error":true`) {
			t.Errorf("got %d notes %s, want one that is an error", len(notes), notes)
		}
		time.Sleep(noteAgain)
		if err := b.Note(t.Context(), translateRef, o.Blocked, nil); err != nil {
			t.Fatal(err)
		}
		if n := len(b.double.Calls("PUT", scalePath)); n != 4 { // registration, scale, two notes
			t.Errorf("got %d calls, want the note left again after %v", n, noteAgain)
		}
	})
}

func contextFor(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
