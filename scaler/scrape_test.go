package scaler

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailedScrapeSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		res  *http.Response
		err  error
		want string
	}{
		"refused":       {nil, errors.New("connection refused"), "connection refused"},
		"not found":     {reply(404, ""), nil, "status 404"},
		"moved":         {reply(302, ""), nil, "status 302"},
		"without bound": {reply(200, strings.Repeat("# a comment\n", 400_000)), nil, "more than 4 MiB"},
	} {
		e := &exporters{client: &http.Client{
			Transport:     answering(func(*http.Request) (*http.Response, error) { return c.res, c.err }),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
		_, err := e.fetchAnew(t.Context(), "http://10.0.0.1:80/metrics", 0)
		if want := "scrape http://10.0.0.1:80/metrics: "; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s… %s", name, err, want, c.want)
		}
	}
}

func TestAnExporterThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &exporters{client: &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}}
		began := time.Now()
		_, err := e.fetchAnew(t.Context(), "http://10.0.0.1:80/metrics", 0)
		if want := "scrape http://10.0.0.1:80/metrics: no answer within 2s"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if took := time.Since(began); took != gpuTimeout {
			t.Errorf("given up after %v, want %v", took, gpuTimeout)
		}
	})
}

func TestAnExporterOfANodeIsFetchedOnceForAllServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int32
		var running sync.WaitGroup
		e := &exporters{ctx: t.Context(), running: &running, byURL: map[string]*fetched{}, client: &http.Client{
			Transport: answering(func(*http.Request) (*http.Response, error) {
				fetches.Add(1)
				time.Sleep(300 * time.Millisecond)
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("m 1\n"))}, nil
			}),
		}}
		fetch := func(url string) {
			if body, err := e.fetch(t.Context(), url, time.Second); err != nil || string(body) != "m 1\n" {
				t.Errorf("%q, %v", body, err)
			}
		}
		var services sync.WaitGroup
		for range 20 {
			services.Go(func() { fetch("http://a") })
		}
		services.Wait()
		fetch("http://a")
		if n := fetches.Load(); n != 1 {
			t.Errorf("%d fetches for 21 readers within a second, want 1", n)
		}
		fetch("http://b")
		pass(time.Second)
		fetch("http://a")
		if n := fetches.Load(); n != 3 {
			t.Errorf("%d fetches, want 3: another exporter, and the first one again a second later", n)
		}
		pass(keepFetched + time.Second)
		fetch("http://c")
		if len(e.byURL) != 1 {
			t.Errorf("%d answers are kept, want only the last", len(e.byURL))
		}
		running.Wait()
	})
}
