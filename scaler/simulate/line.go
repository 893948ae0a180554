package simulate

import "time"

// waiting is a held request.
type waiting struct {
	at      time.Duration
	seconds float64
	cold    bool // no replica was ready when it came
}

// line is a queue in order of arrival.
type line struct {
	items []waiting
	head  int
}

func (l *line) len() int        { return len(l.items) - l.head }
func (l *line) first() *waiting { return &l.items[l.head] }
func (l *line) push(w waiting)  { l.items = append(l.items, w) }

func (l *line) pop() waiting {
	w := l.items[l.head]
	l.head++
	if l.head == len(l.items) {
		l.items, l.head = l.items[:0], 0
	} else if l.head > 1024 && 2*l.head > len(l.items) {
		l.items = l.items[:copy(l.items, l.items[l.head:])]
		l.head = 0
	}
	return w
}

// running is a request in a slot.
type running struct {
	at      time.Duration // its end
	replica uint64
	seconds float64
}

// completions is a heap by end, ties by replica, so that the order does not
// depend on how the heap was filled.
type completions []running

func (c completions) before(i, j int) bool {
	if c[i].at != c[j].at {
		return c[i].at < c[j].at
	}
	return c[i].replica < c[j].replica
}

func (c *completions) push(r running) {
	*c = append(*c, r)
	h := *c
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.before(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (c *completions) pop() running {
	h := *c
	top := h[0]
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	for i := 0; ; {
		low := 2*i + 1
		if low >= n {
			break
		}
		if right := low + 1; right < n && h.before(right, low) {
			low = right
		}
		if !h.before(low, i) {
			break
		}
		h[i], h[low] = h[low], h[i]
		i = low
	}
	*c = h
	return top
}

// integral remembers demand over time by whole seconds, so that means over the
// last minutes are exact up to the running second.
type integral struct {
	at     time.Duration // of the last change
	level  int           // since then
	second int64         // the one that sums are kept up to
	sums   [memorySeconds]float64
}

// memorySeconds is the longest mean that anybody asks for.
const memorySeconds = 300

// move notes that demand was level until now, and is to from now on.
func (g *integral) move(now time.Duration, to int) {
	end := int64(now / time.Second)
	if end-g.second > memorySeconds {
		// Older seconds are forgotten anyway.
		g.at = max(g.at, time.Duration(end-memorySeconds)*time.Second)
		for i := range g.sums {
			g.sums[i] = 0
		}
		g.second = int64(g.at / time.Second)
	}
	for g.at < now {
		stop := min(now, time.Duration(g.second+1)*time.Second)
		g.sums[g.second%memorySeconds] += float64(g.level) * (stop - g.at).Seconds()
		g.at = stop
		if stop == time.Duration(g.second+1)*time.Second {
			g.second++
			g.sums[g.second%memorySeconds] = 0
		}
	}
	g.level = to
}

// mean of demand over the last w seconds, the running one counted by its part;
// before so much time has passed, over what has.
func (g *integral) mean(w int64) float64 {
	sum, length := g.sums[g.second%memorySeconds], (g.at - time.Duration(g.second)*time.Second).Seconds()
	for i := int64(1); i < min(w, memorySeconds-1) && i <= g.second; i++ {
		sum += g.sums[(g.second-i)%memorySeconds]
		length++
	}
	if length <= 0 {
		return float64(g.level)
	}
	return sum / length
}
