package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"

	"github.com/pilotlight/pilotlight/jobs"
)

// refusalText is one recorded refusal.
type refusalText struct {
	What        string `json:"what"`
	Status      int    `json:"status"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
}

// refusal gives the error that Nomad's client makes of a recorded answer.
func refusal(t *testing.T, f refusalText) error {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", f.ContentType)
		w.WriteHeader(f.Status)
		fmt.Fprint(w, f.Body)
	}))
	defer server.Close()
	client, err := api.NewClient(&api.Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.Raw().Write("/v1/job/translate/scale", nil, nil, nil)
	return err
}

func TestRecordedRefusalsAreTold(t *testing.T) {
	passes := map[string]bool{
		"no leader": true, "client agent whose servers are gone": true, "too many connections": true,
		"unknown region": true, "GET allocation, id not a UUID": true, // 500s that are not known to stay
		"scale: JobModifyIndex stale": true, "register EnforceIndex=true": true,
	}
	for _, f := range recorded[[]refusalText](t, "errors.json") {
		t.Run(f.What, func(t *testing.T) {
			err := refusal(t, f)
			if status, body := answered(err); status != f.Status || body != strings.TrimSpace(f.Body) {
				t.Fatalf("got %d %q", status, body)
			}
			want := false
			for prefix := range passes {
				want = want || strings.HasPrefix(f.What, prefix)
			}
			if got := passing(err); got != want {
				t.Errorf("passing: got %v, want %v", got, want)
			}
			if got, want := conflict(err), strings.HasPrefix(f.Body, "Enforcing job modify index"); got != want {
				t.Errorf("conflict: got %v, want %v", got, want)
			}
			told := scaleRefused(translateRef, err)
			_, deployment := errors.AsType[*jobs.DeploymentError](told)
			for _, c := range []struct {
				what      string
				got, want bool
			}{
				{"jobs.ErrUnknownJob", errors.Is(told, jobs.ErrUnknownJob), f.Status == 404},
				{"jobs.ErrUnknownGroup", errors.Is(told, jobs.ErrUnknownGroup), f.What == "scale: unknown group"},
				{"jobs.DeploymentError", deployment, f.What == "scale: deployment active"},
			} {
				if c.got != c.want {
					t.Errorf("%s: got %v, want %v (%v)", c.what, c.got, c.want, told)
				}
			}
		})
	}
}

func TestWhatTheCallerCancelsDoesNotPass(t *testing.T) {
	if passing(fmt.Errorf("read: %w", context.Canceled)) {
		t.Error("a cancelled call would be retried")
	}
	if !passing(errors.New("connection refused")) {
		t.Error("a refused connection would not be retried")
	}
}
