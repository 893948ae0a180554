package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/activator/queue"
)

// atOnce holds very many requests in one activator and lets them all go.
func (h *hold) atOnce(ctx context.Context) error {
	bare, err := h.yardstick(ctx)
	if err != nil {
		return err
	}
	n, err := h.node(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = h.end() }()
	if err := h.release(ctx, 1, []*heldNode{n}, []int{1000}, nil); err != nil { // warm up
		return err
	}
	idle, redisIdle, err := h.both(ctx, n)
	if err != nil {
		return err
	}
	h.cfg.say("hold: %d requests at once", heldAtOnce)
	began := time.Now()
	if err := h.hold(ctx, n, heldAtOnce, heldAtOnce); err != nil {
		return err
	}
	holding := time.Since(began)
	full, redisFull, err := h.both(ctx, n)
	if err != nil {
		return err
	}
	if full.Held != heldAtOnce {
		return fmt.Errorf("%d requests are held, not %d", full.Held, heldAtOnce)
	}
	const n0 = heldAtOnce
	h.add("held at once, process memory each", "KiB", float64(full.Resident-idle.Resident)/n0/1024, n0, "< 40")
	h.add("of it stacks", "KiB", float64(full.Stacks-idle.Stacks)/n0/1024, n0, "")
	h.add("of it heap", "KiB", float64(full.Heap-idle.Heap)/n0/1024, n0, "")
	h.add("held at once, Redis memory each, less the body", "KiB", (float64(redisFull.memory-redisIdle.memory)/n0-heldBody)/1024, n0, "< 1.5")
	h.add("held per second, one activator", "1/s", n0/holding.Seconds(), n0, "")
	h.add("hold, CPU of Redis each", "us", (redisFull.cpu-redisIdle.cpu)/n0, n0, "")
	h.add("hold, CPU of the activator each", "us", us(full.CPU-idle.CPU)/n0, n0, "")

	order, err := h.waiting(ctx)
	if err != nil {
		return err
	}
	full, redisFull, err = h.both(ctx, n)
	if err != nil {
		return err
	}
	h.cfg.say("hold: %d requests let go", heldAtOnce)
	h.replica.reset()
	began = time.Now()
	if err := h.offer(ctx, 1, heldSlots); err != nil {
		return err
	}
	done, err := n.answered(ctx, idle.Answered+n0)
	if err != nil {
		return err
	}
	releasing := time.Since(began)
	redisDone, err := h.server(ctx)
	if err != nil {
		return err
	}
	ids, _, most := h.replica.came()
	early, err := displaced(order, ids)
	if err != nil {
		return err
	}
	h.add("released and answered per second, one activator", "1/s", n0/releasing.Seconds(), n0, "")
	h.add("release, CPU of Redis each", "us", (redisDone.cpu-redisFull.cpu)/n0, n0, "")
	h.add("release and answer, CPU of the activator each", "us", us(done.CPU-full.CPU)/n0, n0, "")
	h.add("hold and release, commands to Redis each", "", float64(done.Commands-idle.Commands)/n0, n0, "at most 4")
	h.add(fmt.Sprintf("most at once at a replica of %d slots", heldSlots), "", float64(most), n0, fmt.Sprint("at most ", heldSlots))
	h.add("places by which a request was sent before its turn, most", "", float64(early), n0, fmt.Sprint("at most ", heldSlots))
	for _, x := range []struct {
		what  string
		value float64
	}{
		{"hold, CPU of Redis, to a bare round trip's", (redisFull.cpu - redisIdle.cpu) / n0 / bare.cpu},
		{"release, CPU of Redis, to a bare round trip's", (redisDone.cpu - redisFull.cpu) / n0 / bare.cpu},
		{"hold, time, to a bare round trip's", us(holding) / n0 / bare.took},
		{"release and answer, time, to a bare round trip's", us(releasing) / n0 / bare.took},
	} {
		h.result.Ratios = append(h.result.Ratios, Ratio{What: x.what, Value: x.value, N: n0})
	}
	return h.offer(ctx, 0, 0)
}

// both is the state of an activator, after a collection of garbage, and of Redis.
func (h *hold) both(ctx context.Context, n *heldNode) (heldState, serverState, error) {
	s, err := n.do(ctx, "settle")
	if err != nil {
		return s, serverState{}, err
	}
	r, err := h.server(ctx)
	return s, r, err
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// add one figure that is not a distribution.
func (h *hold) add(what, unit string, value float64, n int, aim string) {
	h.result.Figures = append(h.result.Figures, Figure{What: what, Unit: unit, N: n, P50: value, P99: value, Aim: aim})
}

// waiting is who waits, in order.
func (h *hold) waiting(ctx context.Context) (ids []string, err error) {
	key := queue.KeyOfQueue(heldService)
	tickets, err := h.redis.ZRange(ctx, key, 0, -1).Result()
	if err != nil {
		return nil, err
	}
	prefix := strings.TrimSuffix(key, "queue") + "ticket:"
	for some := range slices.Chunk(tickets, 1000) { // no call long enough to delay anybody
		var reads []*redis.StringCmd
		if _, err := h.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, t := range some {
				reads = append(reads, p.HGet(ctx, prefix+t, "request_id"))
			}
			return nil
		}); err != nil {
			return nil, err
		}
		for _, r := range reads {
			ids = append(ids, r.Val())
		}
	}
	return ids, nil
}

// displaced is the greatest number of places by which somebody came before those
// who were to come first.
func displaced(order, came []string) (most int, err error) {
	place := make(map[string]int, len(order))
	for i, id := range order {
		place[id] = i
	}
	if len(came) != len(order) {
		return 0, fmt.Errorf("%d requests were sent to the replica, and %d had waited", len(came), len(order))
	}
	for i, id := range came {
		p, ok := place[id]
		if !ok {
			return 0, fmt.Errorf("%s was sent twice, or never held", id)
		}
		delete(place, id)
		most = max(most, p-i)
	}
	return most, nil
}

// trip is what a bare round trip to Redis costs, in us.
type trip struct{ took, cpu float64 }

// yardstick measures bare round trips, as many at once as requests on their way
// to be held.
func (h *hold) yardstick(ctx context.Context) (t trip, err error) {
	script := redis.NewScript("return 1")
	if err := script.Load(ctx, h.redis).Err(); err != nil {
		return t, err
	}
	before, err := h.server(ctx)
	if err != nil {
		return t, err
	}
	var left atomic.Int64
	left.Store(yardstickRuns)
	var wait sync.WaitGroup
	errs := make(chan error, asksAtOnce)
	began := time.Now()
	for range asksAtOnce {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := script.EvalSha(ctx, h.redis, []string{"k"}).Err(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wait.Wait()
	t.took = us(time.Since(began)) / yardstickRuns
	select {
	case err := <-errs:
		return t, err
	default:
	}
	after, err := h.server(ctx)
	t.cpu = (after.cpu - before.cpu) / yardstickRuns
	h.add("bare round trips to Redis per second", "1/s", 1e6/t.took, yardstickRuns, "")
	return t, err
}

// release has nodes hold so many each and lets them go over so many replicas; took
// gets the time from the offer to the last answer.
func (h *hold) release(ctx context.Context, replicas int, nodes []*heldNode, each []int, took *time.Duration) error {
	total := 0
	want := make([]int, len(nodes))
	for i, n := range nodes {
		s, err := n.do(ctx, "state")
		if err != nil {
			return err
		}
		want[i] = s.Answered + each[i]
		total += each[i]
		if err := h.hold(ctx, n, each[i], total); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := h.offer(ctx, replicas, heldSlots); err != nil {
		return err
	}
	for i, n := range nodes {
		if _, err := n.answered(ctx, want[i]); err != nil {
			return err
		}
	}
	if took != nil {
		*took = time.Since(began)
	}
	return h.offer(ctx, 0, 0)
}

// several lets go what several activators hold.
func (h *hold) several(ctx context.Context) error {
	defer func() { _ = h.end() }()
	var each, warm []int
	for range heldNodes {
		if _, err := h.node(ctx); err != nil {
			return err
		}
		each, warm = append(each, heldEach), append(warm, 500)
	}
	if err := h.release(ctx, heldNodes, h.nodes, warm, nil); err != nil {
		return err
	}
	h.cfg.say("hold: %d requests at each of %d activators", heldEach, heldNodes)
	bare, err := h.yardstick(ctx)
	if err != nil {
		return err
	}
	var took time.Duration
	if err := h.release(ctx, heldNodes, h.nodes, each, &took); err != nil {
		return err
	}
	const all = heldNodes * heldEach
	h.add(fmt.Sprintf("released and answered per second, %d activators", heldNodes), "1/s", all/took.Seconds(), all, "at least 5000")
	h.result.Ratios = append(h.result.Ratios, Ratio{N: all, Value: us(took) / all / bare.took,
		What: fmt.Sprintf("release and answer, time, to a bare round trip's, %d activators", heldNodes)})
	return nil
}

// atReady lets 500 requests go when a replica answers its probe.
func (h *hold) atReady(ctx context.Context) error {
	defer func() { _ = h.end() }()
	n, err := h.node(ctx)
	if err != nil {
		return err
	}
	if err := h.release(ctx, 1, []*heldNode{n}, []int{500}, nil); err != nil {
		return err
	}
	var waits []float64
	most := 0
	for round := range readyRounds {
		h.cfg.say("hold: %d requests when a replica is ready, round %d of %d", heldAtReady, round+1, readyRounds)
		s, err := n.do(ctx, "settle")
		if err != nil {
			return err
		}
		if err := h.hold(ctx, n, heldAtReady, heldAtReady); err != nil {
			return err
		}
		h.replica.reset()
		began := time.Now()
		if err := h.offer(ctx, 1, heldAtReady); err != nil {
			return err
		}
		if _, err := n.answered(ctx, s.Answered+heldAtReady); err != nil {
			return err
		}
		_, came, at := h.replica.came()
		for _, t := range came {
			waits = append(waits, milliseconds(t.Sub(began)))
		}
		most = max(most, at)
		if err := h.offer(ctx, 0, 0); err != nil {
			return err
		}
	}
	f := figureOf(fmt.Sprintf("%d held, from the offer of as many slots to the request at the replica", heldAtReady), "ms", waits)
	h.result.Figures = append(h.result.Figures, f)
	h.add("of them most at once at the replica", "", float64(most), len(waits), fmt.Sprint("at most ", heldAtReady))
	return nil
}

// adoption ends the activator that runs a request, in both ways.
func (h *hold) adoption(ctx context.Context) error {
	defer func() { _ = h.end() }()
	other, err := h.node(ctx)
	if err != nil {
		return err
	}
	for _, way := range []struct {
		name   string
		signal syscall.Signal
		rounds int
	}{{"its address refuses", syscall.SIGKILL, goneRounds}, {"it does not answer", syscall.SIGSTOP, silentRounds}} {
		var took []float64
		for round := range way.rounds {
			h.cfg.say("hold: an activator dies, %s, round %d of %d", way.name, round+1, way.rounds)
			d, err := h.adopted(ctx, other, way.signal)
			if err != nil {
				return err
			}
			took = append(took, d.Seconds())
		}
		f := figureOf("request of a dead activator run by another, "+way.name, "s", took)
		f.Aim = "< 5"
		h.result.Figures = append(h.result.Figures, f)
	}
	return nil
}

// adopted is how long it takes from the end of the activator that runs a request
// to its second arrival at the replica.
func (h *hold) adopted(ctx context.Context, other *heldNode, signal syscall.Signal) (time.Duration, error) {
	doomed, err := h.node(ctx)
	if err != nil {
		return 0, err
	}
	h.nodes = h.nodes[:1] // it does not end by itself
	var asking sync.WaitGroup
	defer asking.Wait() // after its end
	defer func() {
		_ = doomed.cmd.Process.Kill()
		_ = doomed.stop() // it ended as it was told to
	}()
	parked := make(chan struct{})
	defer close(parked)
	h.replica.mu.Lock()
	h.replica.parked = parked
	h.replica.mu.Unlock()
	defer func() {
		h.replica.mu.Lock()
		h.replica.parked = nil
		h.replica.mu.Unlock()
	}()
	h.replica.reset()
	h.next++
	if err := h.offer(ctx, 1, 2); err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+doomed.address+heldPath, strings.NewReader(string(translation(heldBody))))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Idempotency-Key", heldID(h.next))
	asking.Go(func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	})
	runs := func(n int) error {
		return every(ctx, time.Millisecond, func() (bool, error) {
			ids, _, _ := h.replica.came()
			return len(ids) >= n, nil
		})
	}
	if err := runs(1); err != nil {
		return 0, err
	}
	time.Sleep(time.Duration(1000+h.next*137%1000) * time.Millisecond) // at any phase of its heartbeat
	began := time.Now()
	if err := doomed.cmd.Process.Signal(signal); err != nil {
		return 0, err
	}
	late, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("nobody has adopted the request within a minute"))
	defer cancel()
	if err := every(late, time.Millisecond, func() (bool, error) {
		ids, _, _ := h.replica.came()
		return len(ids) >= 2, nil
	}); err != nil {
		return 0, context.Cause(late)
	}
	_, at, _ := h.replica.came()
	return at[1].Sub(began), nil
}
