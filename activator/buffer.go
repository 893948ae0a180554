package activator

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/pilotlight/pilotlight/activator/queue"
)

const (
	// smallBody is read into memory before a request is tried, so that it can be
	// repeated; a larger one streams while a slot is free, and is read whole only if
	// the request has to be held.
	smallBody = 64 << 10
	// maxUnrouted bounds the bodies in memory whose service is not known yet, because
	// it stands in them.
	maxUnrouted = 256 << 20
)

// account counts bytes of bodies in memory: of one service, or of those not routed
// yet, and of the whole process beside.
type account struct {
	bytes atomic.Int64
	whole *atomic.Int64
}

// reserve n more bytes for the call, or say whose bound is reached.
func (c *call) reserve(n int64) error {
	name, bound := "requests that no service is known of yet", int64(maxUnrouted)
	if c.account == nil {
		c.account = &c.a.unrouted
		if s := c.service; s != nil {
			c.account = &s.buffered
		}
	}
	if c.service != nil && c.account == &c.service.buffered {
		name, bound = c.service.name, c.service.policy.Hold.MaxBytes
	}
	if total := c.account.bytes.Add(n); total > bound {
		c.account.bytes.Add(-n)
		return &queue.FullError{Service: name, Bytes: total - n}
	}
	if total := c.account.whole.Add(n); total > c.a.cfg.MaxBuffered {
		c.account.bytes.Add(-n)
		c.account.whole.Add(-n)
		return &queue.FullError{Service: "all services in this activator", Bytes: total - n}
	}
	c.reserved += n
	return nil
}

// release what is reserved; the body is in memory no more, or soon.
func (c *call) release() {
	if c.reserved == 0 {
		return
	}
	c.account.bytes.Add(-c.reserved)
	c.account.whole.Add(-c.reserved)
	c.reserved = 0
}

// letGo forgets a body that the store has.
func (c *call) letGo() {
	c.body, c.buffered = nil, true
	c.release()
}

// readBody reads the whole body into memory. What a service keeps in memory this
// way is bounded by hold.max_bytes.
func (c *call) readBody(w http.ResponseWriter, r *http.Request, limit int64) error {
	if c.buffered {
		return nil
	}
	if r.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	if c.stream == nil {
		c.stream = c.a.newClientBody(w, r, limit)
	}
	return c.buffer(r.ContentLength, limit)
}

// buffer reads what c.stream has; size is the announced length, -1 if unknown.
// Memory is reserved before it is used, twice as much each time the client has
// filled what there is: what is announced alone reserves nothing, or few slow
// clients could keep out all others.
func (c *call) buffer(size, limit int64) error {
	if size < 0 {
		size = -1
		if limit <= 0 {
			limit = smallBody
		}
	} else {
		limit = size
	}
	c.stream.Until(c.deadline)
	room := min(limit, smallBody)
	if err := c.reserve(room); err != nil {
		return err
	}
	body := make([]byte, 0, room)
	var beyond [1]byte // what comes after the limit is an error of the stream, or its end
	for {
		free := body[len(body):cap(body)]
		if len(free) == 0 {
			if room = min(limit, 2*int64(cap(body))); room > int64(cap(body)) {
				if err := c.reserve(room - int64(cap(body))); err != nil {
					return err
				}
				grown := make([]byte, len(body), room)
				copy(grown, body)
				body = grown
				continue
			}
			free = beyond[:]
		}
		n, err := c.stream.Read(free)
		if &free[0] == &beyond[0] {
			n = 0
		}
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	_ = c.stream.Close()
	if size >= 0 && int64(len(body)) < size {
		return &BadRequestError{Field: "body", Message: "it ended before its announced length"}
	}
	c.body, c.buffered, c.stream = body, true, nil
	return nil
}
