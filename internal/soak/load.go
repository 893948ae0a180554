package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// load is the clients: each sends one request after another and sees it through.
type load struct {
	house  *house
	begun  time.Time
	until  time.Time // nobody begins a request after that
	settle time.Time // nobody asks after that

	mu       sync.Mutex
	requests []*Request
	readers  []func(context.Context) // of the answers, when all is over
}

// run returns when every request is settled, or time for that is up.
func (l *load) run(ctx context.Context, clients int, seed uint64) {
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)+2))
			for n := 0; time.Now().Before(l.until) && ctx.Err() == nil; n++ {
				l.one(ctx, rng, fmt.Sprintf("c%d-%d", i, n))
				l.think(ctx, rng)
			}
		})
	}
	all.Wait()
}

// read every answer once more, at other activators than before.
func (l *load) readAgain(ctx context.Context) {
	next := make(chan func(context.Context))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for read := range next {
				read(ctx)
			}
		})
	}
	for _, read := range l.readers {
		next <- read
	}
	close(next)
	all.Wait()
}

// think lets rushes and calms alternate: in a rush all slots are contended, in a
// calm they are leased, and services fall to zero.
func (l *load) think(ctx context.Context, rng *rand.Rand) {
	longest := 300 * time.Millisecond
	if time.Since(l.begun)/(8*time.Second)%2 == 1 {
		longest = 5 * time.Second
	}
	sleep(ctx, rng, longest)
}

func sleep(ctx context.Context, rng *rand.Rand, longest time.Duration) {
	select {
	case <-time.After(time.Duration(rng.Int64N(int64(longest)))):
	case <-ctx.Done():
	}
}

// ask is what one client wants.
type ask struct {
	*Request
	service  Service
	path     string
	body     []byte
	stream   bool
	hangUp   time.Duration // of the first call
	wait     string        // Prefer: wait=
	deletes  bool
	activity *rand.Rand
}

// one request, of whatever kind the dice say.
func (l *load) one(ctx context.Context, rng *rand.Rand, id string) {
	a := compose(rng, id)
	l.mu.Lock()
	l.requests = append(l.requests, a.Request)
	l.mu.Unlock()
	a.Sent = time.Now()
	switch {
	case a.Async:
		l.async(ctx, a)
	case a.Keyed:
		l.keyed(ctx, a)
	default:
		l.plain(ctx, a)
	}
	a.Settled = time.Now()
}

func compose(rng *rand.Rand, id string) *ask {
	a := &ask{service: pick(rng), activity: rng}
	a.Request = &Request{ID: id, Service: a.service.Name}
	a.path = a.service.path()
	chance := func(percent int) bool { return rng.IntN(100) < percent }
	switch {
	case chance(30):
		a.Keyed = true
	case chance(45):
		a.Async, a.Keyed = true, chance(40)
	}
	if chance(20) && !(a.service.ComputesOn && !a.Keyed && !a.Async) {
		a.hangUp = time.Duration(20+rng.IntN(600)) * time.Millisecond
	}
	if a.Async && chance(30) {
		a.wait = fmt.Sprintf(", wait=%d", 1+rng.IntN(3))
	}
	a.deletes = a.Async && !a.service.ComputesOn && chance(10)
	if a.service.Name == "translate" {
		a.body = fmt.Appendf(nil, `{"text":%q,"source_lang":"en","target_lang":"es"}`, id)
		return a
	}
	ms, parts, pad, size := 10+rng.IntN(150), 1, 0, 20+rng.IntN(400)
	switch a.service.Name {
	case "engine": // some for longer than it takes to find that an activator is dead
		if ms = 50 + rng.IntN(1200); chance(25) {
			ms = 2500 + rng.IntN(5500)
		}
	case "single": // so that there always is a queue
		ms = 100 + rng.IntN(600)
	}
	if chance(40) {
		parts, pad = 1+rng.IntN(8), rng.IntN(4000)
		a.stream = a.service.Name == "wide" && !a.Async && chance(60)
	}
	if a.service.Name == "wide" && chance(15) {
		size = 60_000 + rng.IntN(1_000_000) // around what is read before a slot is there, and far above
	}
	a.path += fmt.Sprintf("?ms=%d&parts=%d&pad=%d", ms, parts, pad)
	a.body = make([]byte, size)
	for i := range a.body {
		a.body[i] = byte('a' + (i+int(rng.Uint32()&1))%26)
	}
	return a
}

func pick(rng *rand.Rand) Service {
	total := 0
	for _, s := range Services {
		total += s.Weight
	}
	n := rng.IntN(total)
	for _, s := range Services {
		if n -= s.Weight; n < 0 {
			return s
		}
	}
	return Services[0]
}

func (a *ask) anywhere() int { return a.activity.IntN(activators) }

// post is a call with the request itself.
func (l *load) post(ctx context.Context, a *ask, what string, activator int, hangUp time.Duration) (Call, []byte, http.Header) {
	header := map[string]string{"X-Request-Id": a.ID, "Content-Type": "text/plain"}
	if a.service.Name == "translate" {
		header["Content-Type"] = "application/json"
	}
	if a.Keyed {
		header["Idempotency-Key"] = "key " + a.ID
	}
	if a.Async {
		header["Prefer"] = "respond-async" + a.wait
	}
	if a.stream {
		header["Accept"] = "text/event-stream"
	}
	c, body, head := l.house.exchange(ctx, activator, message{what: what, method: http.MethodPost, path: a.path, header: header, body: a.body, hangUp: hangUp})
	c.judge(a.Request, a.body, body)
	return c, body, head
}

// note a call. Readers of one request run beside each other.
func (l *load) note(r *Request, c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Calls = append(r.Calls, c)
}

// plain requests have one call.
func (l *load) plain(ctx context.Context, a *ask) {
	c, _, _ := l.post(ctx, a, "POST", a.anywhere(), a.hangUp)
	l.note(a.Request, c)
}

// passing is true of what a client with a key comes back after: a lost
// connection, or an answer that says to.
func passing(c Call) bool {
	switch c.Problem { // of a stream it comes as an event, behind status 200
	case "store-unavailable", "start-failed", "no-capacity", "queue-full", "shutting-down":
		return true
	}
	return c.Err != ""
}

// keyed requests are sent again until there is an answer; sometimes at two
// activators at once.
func (l *load) keyed(ctx context.Context, a *ask) {
	hangUp := a.hangUp
	for time.Now().Before(l.settle) && ctx.Err() == nil {
		var twin sync.WaitGroup
		first := a.anywhere()
		if a.activity.IntN(6) == 0 {
			second := (first + 1) % activators
			twin.Go(func() {
				c, _, _ := l.post(ctx, a, "twin", second, 0)
				l.note(a.Request, c)
			})
		}
		c, _, _ := l.post(ctx, a, "POST", first, hangUp)
		twin.Wait()
		l.note(a.Request, c)
		hangUp = 0
		if !passing(c) {
			if c.Answered() {
				again := func(ctx context.Context) {
					l.reread(ctx, a, func(activator int) (Call, []byte) {
						c, body, _ := l.post(ctx, a, "again", activator, 0)
						return c, body
					})
				}
				again(ctx)
				l.later(again)
			}
			return
		}
		sleep(ctx, a.activity, 400*time.Millisecond)
	}
}

func (l *load) later(read func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers = append(l.readers, read)
}

// reread an answer until it comes whole.
func (l *load) reread(ctx context.Context, a *ask, read func(activator int) (Call, []byte)) {
	for activator := 0; time.Now().Before(l.settle) && ctx.Err() == nil; activator++ {
		c, _ := read((int(a.Sent.UnixNano()%activators) + activator) % activators)
		l.note(a.Request, c)
		if !passing(c) {
			return
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// ticketOf reads the id from Location.
func ticketOf(head http.Header) string {
	return strings.TrimPrefix(head.Get("Location"), requestsPath)
}

const requestsPath = "/pilotlight/v1/requests/"
