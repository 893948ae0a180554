package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pilotlight/pilotlight/activator/front"
)

// hostPort reads the address of a listener: host:port, or the http URL that its
// clients use, for PILOTLIGHT_CONTROL tells both the same. Errors: wrong use.
func hostPort(flag, text string) (addr, host string, err error) {
	addr = text
	if rest, ok := strings.CutPrefix(text, "http://"); ok {
		addr = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return "", "", usageError{fmt.Errorf("--%s %q: want HOST:PORT or http://HOST:PORT, such as 127.0.0.1:8080", flag, text)}
	}
	return addr, host, nil
}

// listen opens a loopback address. Another one is refused as long as there are
// no tokens to keep strangers out.
func listen(what, flag, text string) (net.Listener, error) {
	addr, host, err := hostPort(flag, text)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, usageError{fmt.Errorf("--%s %s: only loopback addresses are served while no access tokens exist; put a proxy with access control in front, on this machine", flag, text)}
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is in use by another program; choose another address with --%s", what, addr, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return l, nil
}

// health answers /livez and /readyz on every listener.
type health struct {
	ready    func(context.Context) error
	stopping atomic.Bool
}

// watch asks every few seconds, so that the metrics of dependencies are true
// whether or not anybody asks /readyz.
func (h *health) watch(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, time.Second)
		_ = h.ready(asked) // it sets the metrics; /readyz says it in words
		cancel()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// around adds the two routes to a handler.
func (h *health) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/livez":
			plainText(w, http.StatusOK, "alive")
		case "/readyz":
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			err := h.ready(ctx)
			if h.stopping.Load() {
				err = errors.New("shutting down")
			}
			if err != nil {
				plainText(w, http.StatusServiceUnavailable, err.Error())
				return
			}
			plainText(w, http.StatusOK, "ready")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func plainText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, strings.TrimSpace(text))
}

// newHTTPServer bounds what a client may cost before its request is known.
func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{Handler: front.Patience(front.DefaultPace.Grace, h), ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
}
