package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// counting counts what has been read.
type counting struct {
	r io.Reader
	n atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// replayProgress tells how far a replay has come once it has taken a second, and
// then each second on a terminal, every ten elsewhere.
type replayProgress struct {
	line  *statusLine
	read  *counting
	size  int64 // of what is read; 0: unknown
	begun time.Time
	next  time.Duration
	every time.Duration
}

func newProgress(w io.Writer, read *counting, size int64) *replayProgress {
	p := &replayProgress{line: newStatusLine(w), read: read, size: size, begun: time.Now(), next: time.Second, every: 10 * time.Second}
	if p.line.terminal {
		p.every = time.Second
	}
	return p
}

func (p *replayProgress) show(at time.Duration, requests uint64) {
	took := time.Since(p.begun)
	if took < p.next {
		return
	}
	p.next = took + p.every
	text := fmt.Sprintf("replayed %s of virtual time, %s requests", at.Round(time.Second), simulate.Count(requests))
	if n := p.read.n.Load(); p.size > 0 && n > 0 && n < p.size {
		left := time.Duration(float64(took) * float64(p.size-n) / float64(n))
		text += fmt.Sprintf(", about %s left", max(left.Round(time.Second), time.Second))
	}
	p.line.show(text)
}

func (p *replayProgress) clear() { p.line.clear() }
