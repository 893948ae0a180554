package activator

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// served is an activator in a bubble that knows one service at zero.
func served(t *testing.T) *Activator {
	t.Helper()
	act, store := starting(t)
	store.away.Store(false)
	time.Sleep(rereadAfter)
	synctest.Wait()
	if !act.Ready() {
		t.Fatal("not ready")
	}
	return act
}

// Whatever its headers say, a request is answered in time, with a status that a
// caller's fault or a service at zero can have, and what is echoed is clean.
func FuzzHeadersNeverPanicAndNeverHang(f *testing.F) {
	f.Add("respond-async, wait=5", "key", "90s", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "id")
	f.Add(`wait="0"; x=y`, strings.Repeat("k", 300), "-1s", "00-", "a b")
	f.Add("wait=99999999999999999999", "\x00\xff", "1e9h", "\n", "\r\nSet-Cookie: x")
	f.Add("Respond-Async,,wait=;;=", " ", "0", strings.Repeat("f", 4096), strings.Repeat("x", 129))
	f.Add("", "", "9223372036854775807ns", "", "\"\\")
	f.Fuzz(func(t *testing.T, prefer, key, deadline, traceparent, id string) {
		synctest.Test(t, func(t *testing.T) {
			act := served(t)
			r := httptest.NewRequest(http.MethodPost, "/translate", strings.NewReader(`{"text":"x","source_lang":"en","target_lang":"es"}`))
			r.Header = http.Header{"Content-Type": {"application/json"}}
			for name, value := range map[string]string{"Prefer": prefer, "Idempotency-Key": key, "Pilotlight-Deadline": deadline,
				"Traceparent": traceparent, "X-Request-Id": id} {
				if value != "" {
					r.Header[name] = []string{value}
				}
			}
			rec := httptest.NewRecorder()
			begun := time.Now()
			act.ServeHTTP(rec, r)
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("answered after %v; hold.max_wait is 1s", took)
			}
			switch rec.Code {
			case http.StatusAccepted, http.StatusBadRequest, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			default:
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
			echoed := rec.Header().Get("X-Request-Id") + rec.Header().Get("Location") + rec.Header().Get("Preference-Applied")
			if strings.ContainsFunc(echoed, func(c rune) bool { return c < ' ' || c > '~' }) || rec.Header().Get("X-Request-Id") == "" {
				t.Errorf("echoed %q", rec.Header())
			}
		})
	})
}

// An accepted key finds its own request again, and no other one does.
func FuzzAKeyThatIsAcceptedIsItsOwn(f *testing.F) {
	f.Add("a", "b")
	f.Add("k", "k ")
	f.Add("1:a", "1:a2:")
	f.Fuzz(func(t *testing.T, one, other string) {
		for _, key := range []string{one, other} {
			if err := checkKey(key); err == nil && len(key) > 255 {
				t.Errorf("accepted %d bytes", len(key))
			}
		}
		if one == other || one == "" || other == "" || checkKey(one) != nil || checkKey(other) != nil {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			act := served(t)
			submit := func(key string) string {
				r := httptest.NewRequest(http.MethodPost, "/translate", strings.NewReader(`{"text":"x","source_lang":"en","target_lang":"es"}`))
				r.Header = http.Header{"Content-Type": {"application/json"}, "Prefer": {"respond-async"}, "Idempotency-Key": {key}}
				rec := httptest.NewRecorder()
				act.ServeHTTP(rec, r)
				if rec.Code != http.StatusAccepted {
					t.Fatalf("%q: %d %s", key, rec.Code, rec.Body)
				}
				return rec.Header().Get("Location")
			}
			first := submit(one)
			if again := submit(one); again != first {
				t.Errorf("%q is %s, and then %s", one, first, again)
			}
			if submit(other) == first {
				t.Errorf("%q and %q are one request", one, other)
			}
		})
	})
}
