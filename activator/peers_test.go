package activator

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/activator/queue"
)

func TestAPeerIsAskedOverTheDataPlane(t *testing.T) {
	w := newWorld(t)
	address := strings.TrimPrefix(w.url, "http://")
	view, err := AskPeer(t.Context(), address, queue.View{Activator: "b", Services: map[string]queue.Sight{"translate": {}}})
	if err != nil || view.Activator != "a" || !view.Services["translate"].Redis {
		t.Errorf("view = %+v, %v", view, err)
	}
	if _, err := AskPeer(t.Context(), refused(t), queue.View{}); !errors.Is(err, queue.ErrGone) {
		t.Errorf("nobody listens: %v, want ErrGone", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := AskPeer(ended, address, queue.View{}); err == nil || errors.Is(err, queue.ErrGone) {
		t.Errorf("asked in vain: %v", err)
	}
	if a := w.do("GET", peersPath, ""); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("status = %d", a.StatusCode)
	}
	if a := w.do("POST", peersPath, "{"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("status = %d", a.StatusCode)
	}
}

func TestOnlyActivatorsAskForTheLedger(t *testing.T) {
	w := newWorld(t)
	r, err := http.NewRequest("POST", peersPath, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.1:1234"
	rec := &recorder{header: http.Header{}}
	w.act.ServeHTTP(rec, r)
	if rec.status != http.StatusForbidden {
		t.Errorf("status = %d, want 403", rec.status)
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }
