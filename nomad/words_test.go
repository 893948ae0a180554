package nomad

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// inward are the parts of an error that are nobody's business outside.
var inward = regexp.MustCompile(`https?://|127\.0\.0\.1|nomad\.test|context deadline|Unexpected response|dial tcp|EOF|(?i)(scale [^:]*): .*scale [^:]*:`)

func TestWhatGoesWrongIsSaidWithoutAddressesAndOnce(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		for _, c := range []struct {
			what    string
			befalls func() (over func())
			want    string
		}{
			{"an answer that never comes", func() func() { return b.double.Hang(1000, "GET", "/v1/job/translate") }, "Nomad does not answer within 7s"},
			{"a refusal", func() func() {
				b.double.SetToken("", least("research"))
				return func() { b.double.SetToken("", least("default")) }
			}, "permission denied: the token lacks"},
			{"no leader", func() func() {
				b.double.Fail(1000, "GET", "/v1/job/translate", http.StatusInternalServerError, "No cluster leader")
				return func() {}
			}, "Nomad answered 500: No cluster leader"},
		} {
			over := c.befalls()
			err := b.Scale(t.Context(), translateRef, 1, "", nil)
			over()
			if err == nil || !strings.Contains(err.Error(), c.want) || inward.MatchString(err.Error()) || strings.Count(err.Error(), "scale default/translate/server") != 1 {
				t.Errorf("%s: got %q, want %q, said to whom it may concern", c.what, err, c.want)
			}
		}
	})
}

func TestAnAgentThatIsNotThereIsSaidInWords(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	breaks := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer breaks.Close()
	foreign := httptest.NewTLSServer(nil)
	foreign.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer foreign.Close()
	for address, want := range map[string]string{
		gone.URL:    "Nomad cannot be reached: connection refused",
		breaks.URL:  "Nomad closed the connection before its answer was complete",
		foreign.URL: "Nomad's certificate is not accepted: x509: certificate signed by unknown authority",
	} {
		f, err := New(Config{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Observe(t.Context(), translateRef)
		f.Close()
		if err == nil || !strings.Contains(err.Error(), want) || inward.MatchString(err.Error()) {
			t.Errorf("%s: got %q, want %q", address, err, want)
		}
	}
}

func TestANameThatIsNotKnownIsSaidInWords(t *testing.T) {
	err := &url.Error{Op: "Get", URL: "http://nomad.test", Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nomad.test"}}}
	if got, want := inWords(t.Context(), err, 0).Error(), "Nomad's name cannot be looked up: no such host"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestADeploymentThatRefusesIsSaidOnce(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, strings.Replace(translate, "max_parallel = 0", "max_parallel = 1", 1)), translateRef)
		b.scale(translateRef, 1)
		time.Sleep(time.Second) // its deployment is under way
		err := b.Scale(t.Context(), translateRef, 2, "", nil)
		if err == nil || strings.Count(err.Error(), "scale ") != 1 {
			t.Errorf("got %q", err)
		}
	})
}

func TestACallersOwnDeadlineIsNotSaidToBeNomads(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		over := b.double.Hang(1000, "GET", "/v1/job/translate")
		defer over()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Observe(ctx, jobs.Ref{Namespace: "default", Job: "translate", Group: "server"})
		if err == nil || !strings.Contains(err.Error(), "Nomad had not answered when the time for it was over") {
			t.Errorf("got %v", err)
		}
	})
}
