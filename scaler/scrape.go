package scaler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
)

const scrapeMaximum = 4 << 20 // bytes of one scrape

// exporters fetches /metrics, once for all services that want the same one.
type exporters struct {
	client  *http.Client
	ctx     context.Context // of the fetches: they outlive whoever asked first
	running *sync.WaitGroup // takes in the fetches

	mu    sync.Mutex // guards byURL, not the fetches
	byURL map[string]*fetched
}

// fetched is one fetch, under way or done.
type fetched struct {
	began time.Time
	done  chan struct{} // closed when body and err are there
	body  []byte
	err   error
}

// keepFetched is how long an exporter that nobody asks for any more is kept.
const keepFetched = 10 * time.Second

// fetch returns what the exporter says, at most fresh old. It waits no longer
// than a scrape takes, or until ctx ends.
func (e *exporters) fetch(ctx context.Context, url string, fresh time.Duration) ([]byte, error) {
	f := e.at(url, fresh)
	select {
	case <-f.done:
		return f.body, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// at returns the fetch to wait for, and begins it if there is none.
func (e *exporters) at(url string, fresh time.Duration) *fetched {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if f := e.byURL[url]; f != nil && now.Sub(f.began) <= fresh {
		return f
	}
	for u, f := range e.byURL {
		if now.Sub(f.began) > keepFetched {
			delete(e.byURL, u)
		}
	}
	f := &fetched{began: now, done: make(chan struct{})}
	e.byURL[url] = f
	e.running.Go(func() {
		defer close(f.done)
		f.body, f.err = e.fetchAnew(e.ctx, url, 0)
	})
	return f
}

// fetchAnew fetches for its caller alone.
func (e *exporters) fetchAnew(ctx context.Context, from string, _ time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, gpuTimeout)
	defer cancel()
	body, err := fetchMetrics(ctx, e.client, from)
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", from, unanswered(err, gpuTimeout))
	}
	return body, nil
}

func fetchMetrics(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, scrapeMaximum+1))
	if err == nil && len(body) > scrapeMaximum {
		return nil, fmt.Errorf("more than %d MiB", scrapeMaximum>>20)
	}
	return body, err
}
