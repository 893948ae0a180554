package activator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pilotlight/pilotlight/activator/translate"
)

// maxAnswer bounds what is read of a replica's answer to be turned into a
// translation.
const maxAnswer = 16 << 20

// translate answers POST /translate through the adapter of the policy. What it
// refuses wakes nothing.
func (a *Activator) translate(w http.ResponseWriter, r *http.Request, c *call) error {
	req, err := c.parse()
	if err != nil {
		return err
	}
	if c.adapter.Name() == translate.BackendPassthrough {
		r.Header.Set("Content-Type", "application/json") // it is, whatever curl -d says
		a.forward(w, r, c)
		if c.failure == "" && c.status < 400 {
			a.metrics.translated(req)
		}
		return nil
	}
	c.out = &heartbeat{ResponseWriter: w, asked: r.Header}
	defer c.out.end()
	if err := a.adapt(c.out, r, c, req); err != nil {
		a.fail(c.out, r, c, err)
	}
	return nil
}

// adapt sends a translation in the replica's own words, and answers in ours.
func (a *Activator) adapt(w *heartbeat, r *http.Request, c *call, req translate.Request) error {
	ctx, cancel := c.begin(w, r)
	defer cancel(nil)
	method, path, header, body := c.adapter.Encode(req)
	header.Set("X-Request-Id", c.id)
	c.body, c.buffered, c.stream = body, true, nil
	out := (&http.Request{Method: method, URL: &url.URL{Scheme: "http", Path: path}, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	resp, err := a.tries.RoundTrip(out)
	if err != nil {
		return err
	}
	c.status = resp.StatusCode
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return &UpstreamError{Replica: c.slot.Replica, Attempts: c.attempt, Err: err}
	case len(answer) > maxAnswer:
		return &UpstreamError{Replica: c.slot.Replica, Attempts: c.attempt, Err: fmt.Errorf("its answer is larger than %d bytes", maxAnswer)}
	}
	status, answer, err := c.adapter.Decode(req, resp.StatusCode, resp.Header, answer)
	if err != nil {
		return err
	}
	c.status = status
	h := w.Header()
	c.head(h)
	if w.committed {
		if answer, err = event(c, status, "application/json", answer); err != nil {
			return err
		}
	} else {
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(answer)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
	if status < 400 {
		a.metrics.translated(req)
	}
	return nil
}
