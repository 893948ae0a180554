package queue

import (
	"fmt"
	"time"

	"pgregory.net/rapid"
)

// op is one event. What N, M and D mean depends on Kind; N is often the activator.
type op struct {
	Kind string
	N, M int
	D    time.Duration
}

func (o op) String() string { return fmt.Sprintf("%s(%d,%d,%s)", o.Kind, o.N, o.M, o.D) }

// A chapter is a few events in an order in which things may go wrong. Events drawn one
// by one hardly ever come in such an order; chapters follow each other at random, and
// so disturb each other. Within one, a and b are two activators.
type chapter func(d *draws) []op

var chapters = []struct {
	weight int
	tell   chapter
}{
	{6, func(d *draws) []op { return d.traffic(2, 6) }},
	{4, func(d *draws) []op { return d.anything(1, 6) }},
	{3, crashWithGrants},
	{3, standsStill},
	{2, lateWord},
	{3, givesBackSlowly},
	{2, comesBackEmpty},
	{2, comesBackOlder},
	{2, runsBreak},
	{2, refusedAtOnce},
	{1, drains},
	{1, outage},
}

var genChapter = rapid.Custom(func(t *rapid.T) []op {
	var by []chapter
	for _, c := range chapters {
		for range c.weight {
			by = append(by, c.tell)
		}
	}
	d := &draws{T: t}
	return by[d.n(len(by))](d)
})

// draws makes events.
type draws struct{ *rapid.T }

func (d *draws) n(below int) int { return rapid.IntRange(0, below-1).Draw(d.T, "n") }

func (d *draws) ms(from, to int) time.Duration {
	return time.Duration(rapid.IntRange(from, to).Draw(d.T, "ms")) * time.Millisecond
}

func (d *draws) two() (a, b int) {
	a = d.n(3)
	return a, a + 1 + d.n(2)
}

func (d *draws) of(least, most int, kinds ...string) (ops []op) {
	for range least + d.n(most-least+1) {
		ops = append(ops, op{Kind: kinds[d.n(len(kinds))], N: d.n(21), M: d.n(8), D: d.ms(1, 7000)})
	}
	return ops
}

func (d *draws) traffic(least, most int) []op {
	return d.of(least, most, "hold", "hold", "hold", "submit", "submit", "try", "end", "end", "write", "moment", "second", "fail", "cancel")
}

func (d *draws) anything(least, most int) []op {
	return d.of(least, most, "hold", "submit", "end", "try", "write", "offer", "fail", "cancel", "advance", "second", "observe", "crash",
		"bury", "upload", "start", "pause", "resume", "cut", "mend", "lose", "slow", "late", "away", "back", "restart", "save", "rollback", "empty")
}

func all() op { return op{Kind: "offer", N: 7} }

func join(parts ...any) (ops []op) {
	for _, p := range parts {
		switch p := p.(type) {
		case op:
			ops = append(ops, p)
		case []op:
			ops = append(ops, p...)
		}
	}
	return ops
}

// crashWithGrants: one dies while the ledger knows of slots that it may have used.
func crashWithGrants(d *draws) []op {
	a, b := d.two()
	return join(op{Kind: "slow", N: a, M: d.n(8)}, op{Kind: "hold", N: a}, op{Kind: "submit", N: a, M: d.n(8)}, op{Kind: "try", N: a},
		d.of(0, 1, "moment"), op{Kind: "hold", N: a}, op{Kind: "hold", N: b}, op{Kind: "crash", N: a}, op{Kind: "hold", N: b},
		op{Kind: "hold", N: b}, op{Kind: "advance", D: d.ms(1, 7000)}, op{Kind: "observe", M: d.n(8)})
}

// standsStill: one stops, others take its place, and it goes on.
func standsStill(d *draws) []op {
	a, b := d.two()
	return join(op{Kind: "hold", N: a}, op{Kind: "submit", N: a, M: d.n(8)}, op{Kind: "hold", N: a}, d.of(0, 1, "write"),
		op{Kind: "pause", N: a}, op{Kind: "hold", N: b}, op{Kind: "advance", D: d.ms(3000, 7000)}, d.traffic(0, 2),
		op{Kind: "resume"}, op{Kind: "lose", N: a, M: d.n(8)}, op{Kind: "hold", N: a}, op{Kind: "try", N: a}, op{Kind: "end", N: d.n(21)})
}

// lateWord: what one has said is taken for lost, and arrives after what it says next.
func lateWord(d *draws) []op {
	a, b := d.two()
	return join(all(), d.of(0, 2, "hold", "submit", "second"), op{Kind: "late", N: a, D: d.ms(1, 6000)},
		d.of(1, 2, "submit", "hold", "write", "end", "fail"), d.of(0, 1, "pause"), op{Kind: "hold", N: b}, op{Kind: "try", N: a},
		op{Kind: "advance", D: d.ms(1, 6000)}, d.of(0, 1, "resume"), op{Kind: "hold", N: a}, op{Kind: "try", N: a})
}

// givesBackSlowly: a submission brings a leased slot back while others ask for one.
func givesBackSlowly(d *draws) []op {
	a, b := d.two()
	return join(all(), d.of(3, 6, "end"), op{Kind: "try", N: a}, op{Kind: "second"}, op{Kind: "second"}, op{Kind: "slow", N: a, M: 1 + d.n(7)},
		op{Kind: "submit", N: a, M: d.n(8)}, op{Kind: "hold", N: b}, op{Kind: "moment"}, op{Kind: "hold", N: b}, op{Kind: "try", N: a}, op{Kind: "moment"},
		op{Kind: "try", N: a}, op{Kind: "slow", N: a})
}

// comesBackEmpty: Redis has forgotten everything, and somebody asks before those that
// remember have spoken.
func comesBackEmpty(d *draws) []op {
	a, b := d.two()
	return join(all(), op{Kind: "hold", N: a}, op{Kind: "hold", N: a}, op{Kind: "try", N: b}, d.of(0, 1, "second"), op{Kind: "empty"}, d.of(0, 1, "start"),
		all(), op{Kind: "hold", N: b}, op{Kind: "hold", N: 20}, op{Kind: "try", N: b}, all(), op{Kind: "advance", D: d.ms(1, 5000)}, all())
}

// comesBackOlder: Redis has forgotten its last writes.
func comesBackOlder(d *draws) []op {
	a, b := d.two()
	return join(all(), op{Kind: "save"}, op{Kind: "hold", N: a}, op{Kind: "submit", N: a, M: d.n(8)}, op{Kind: "try", N: a}, op{Kind: "try", N: b},
		d.traffic(0, 2), op{Kind: "rollback"}, d.of(0, 1, "start"), op{Kind: "hold", N: 20}, op{Kind: "hold", N: b}, op{Kind: "hold", N: 20},
		op{Kind: "advance", D: d.ms(1, 5000)})
}

// runsBreak: replicas break durable requests, before and in the midst of their answers.
func runsBreak(d *draws) []op {
	a, b := d.two()
	return join(all(), op{Kind: "submit", N: a, M: d.n(8)}, d.of(0, 1, "late"), op{Kind: "write"}, d.of(0, 1, "crash", "pause"), op{Kind: "fail"},
		op{Kind: "second"}, op{Kind: "submit", N: b, M: d.n(8)}, op{Kind: "write"}, op{Kind: "fail"}, op{Kind: "second"}, op{Kind: "second"}, op{Kind: "fail"})
}

// refusedAtOnce: replicas break the requests of one whose words are slow, so that they
// are held again before Redis has heard that their slots were taken.
func refusedAtOnce(d *draws) []op {
	a, b := d.two()
	return join(all(), d.of(3, 6, "end"), op{Kind: "slow", N: a, M: 1 + d.n(4)}, op{Kind: "hold", N: a}, d.of(1, 4, "moment"),
		d.of(1, 3, "fail"), d.of(0, 1, "moment"), op{Kind: "hold", N: b}, op{Kind: "try", N: a}, d.of(1, 4, "moment", "fail", "end"),
		op{Kind: "slow", N: a}, op{Kind: "try", N: a})
}

// drains: replicas are offered no more while they are busy, and come back.
func drains(d *draws) []op {
	a, b := d.two()
	return join(all(), op{Kind: "hold", N: a}, op{Kind: "try", N: b}, op{Kind: "offer", N: 1}, op{Kind: "second"}, op{Kind: "hold", N: b},
		op{Kind: "offer", N: d.n(8), M: d.n(8)}, d.of(0, 2, "end"), all())
}

// outage: Redis is away for all, longer than a lease or not.
func outage(d *draws) []op {
	return join(d.traffic(1, 3), op{Kind: "away"}, op{Kind: "advance", D: d.ms(1, 7000)}, d.of(1, 3, "hold", "try", "end"), op{Kind: "back"},
		d.of(0, 2, "hold", "second"))
}
