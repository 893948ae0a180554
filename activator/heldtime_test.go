package activator

import (
	"net/http"
	"testing"
	"time"
)

func TestAWaitForAReplicaAfterARetryIsToldAsACold(t *testing.T) {
	const wait = 300 // ms
	for what, header := range map[string][]string{
		"a connection":    nil,
		"a key":           {"Idempotency-Key", "k"},
		"a bounded wait":  {"Prefer", "wait=60"},
		"a held stream":   {"Accept", "text/event-stream"},
		"a keyed stream ": {"Accept", "text/event-stream", "Idempotency-Key", "k"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			first := make(chan bool, 10)
			w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
				first <- true
				panic(http.ErrAbortHandler)
			})
			waiting := w.async("POST", "/translate", hello, header...)
			<-first
			w.untilHeld("translate", 1)
			w.offers = nil // the scaler finds that it is dead
			w.offer("translate")
			<-time.After(wait * time.Millisecond)
			w.replica("translate", "r2", 1, func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusOK) })
			a := w.get(waiting)
			_, cold, _ := timings(t, a.Header.Get("Server-Timing"))
			if a.StatusCode != 200 || cold < wait/2 || a.Header.Get("Pilotlight-Cold-Start") != "true" {
				t.Errorf("%d %q, %q; want a wait of %d ms told as cold", a.StatusCode, a.Header.Get("Pilotlight-Cold-Start"), a.Header.Get("Server-Timing"), wait)
			}
		})
	}
}

func TestAnAnswerIsReadAlsoAfterItsPolicyWasRemoved(t *testing.T) {
	w := newWorld(t)
	w.replica("translate", "r1", 1, func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write([]byte("hola")) })
	at := w.do("POST", "/translate", hello, "Prefer", "respond-async").Header.Get("Location")
	w.until("it is answered", func() bool { _, s := w.stateAt(at); return s.State == "succeeded" })
	if _, err := w.store.Delete(t.Context(), "translate", 1, "test", ""); err != nil {
		t.Fatal(err)
	}
	w.until("the policy is gone", func() bool { return w.do("POST", "/translate", hello).StatusCode == 404 })
	if code, s := w.stateAt(at); code != 200 || s.State != "succeeded" || s.Status != 200 {
		t.Errorf("%d %+v", code, s)
	}
	if a := w.do("GET", at+"/result", ""); a.StatusCode != 200 || a.body != "hola" {
		t.Errorf("its result: %d %q", a.StatusCode, a.body)
	}
	if a := w.do("GET", at+"/events", ""); a.err != nil || a.StatusCode != 200 {
		t.Errorf("its events: %d %v", a.StatusCode, a.err)
	}
	if a := w.do("DELETE", at, ""); a.StatusCode != 200 {
		t.Errorf("its end: %d %q", a.StatusCode, a.body)
	}
	if code, _ := w.stateAt("/pilotlight/v1/requests/nobody.X-" + at[len(at)-6:]); code != 404 {
		t.Errorf("one that never was: %d", code)
	}
}
