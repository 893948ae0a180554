package front

import "time"

// Pace is what a client has to keep up while we wait for it. Time that it is not
// waited for (a replica that computes, a slot that has not come) does not count.
type Pace struct {
	Grace time.Duration // how long it may keep us waiting, beyond what its bytes take at Rate
	Rate  float64       // bytes per second
}

// DefaultPace is slower than any line that a model is used over: 15 s, and 240
// bytes per second. (240 is also the least that Microsoft's Kestrel takes.)
var DefaultPace = Pace{Grace: 15 * time.Second, Rate: 240}

// takes is how long so many bytes may take.
func (p Pace) takes(n int) time.Duration {
	return time.Duration(float64(n) / p.Rate * float64(time.Second))
}

// Credit is the time that one client may still keep us waiting. It is not safe for
// concurrent use.
type Credit struct {
	pace Pace
	left time.Duration
}

// Credit of a client that has just come: the whole grace.
func (p Pace) Credit() Credit { return Credit{pace: p, left: p.Grace} }

// Pace is what the credit is of.
func (c *Credit) Pace() Pace { return c.pace }

// Left is how long the client may be waited for now; 0 or less: it is too slow.
func (c *Credit) Left() time.Duration { return c.left }

// Moved notes that n bytes went over the line after the client was waited for so
// long. What a fast client has earned is not kept: it would let it be slow for
// hours later.
func (c *Credit) Moved(n int, waited time.Duration) {
	c.left = min(c.pace.Grace, c.left-waited+c.pace.takes(n))
}
