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

// met remembers how far a trace has been read in virtual time. Replays are behind: a
// file of a few requests in two weeks is read in one piece.
type met struct {
	simulate.Source
	until atomic.Int64 // nanoseconds
}

// Next is the trace's.
func (m *met) Next() (simulate.Request, error) {
	r, err := m.Source.Next()
	if err == nil {
		m.until.Store(int64(r.At))
	}
	return r, err
}

// replayProgress tells how far a replay has come once it has taken a second, and
// then each second on a terminal, every ten elsewhere.
type replayProgress struct {
	line  *statusLine
	read  *counting
	size  int64 // of what is read; 0: unknown
	trace *met
	begun time.Time
	next  time.Duration
	every time.Duration
}

func newProgress(w io.Writer, read *counting, size int64, trace *met) *replayProgress {
	p := &replayProgress{line: newStatusLine(w), read: read, size: size, trace: trace, begun: time.Now(), next: time.Second, every: 10 * time.Second}
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
	if left, known := p.left(took, at); known {
		text += fmt.Sprintf(", about %s left", max(left.Round(time.Second), time.Second))
	}
	p.line.show(text)
}

// left goes by the share of the file that was read, and of that which is replayed.
func (p *replayProgress) left(took, at time.Duration) (time.Duration, bool) {
	read, until := p.read.n.Load(), p.trace.until.Load()
	if p.size == 0 || read == 0 || until == 0 || at == 0 {
		return 0, false
	}
	share := min(1, float64(read)/float64(p.size)) * min(1, float64(at)/float64(until))
	return time.Duration(float64(took) * (1 - share) / share), true
}

func (p *replayProgress) clear() { p.line.clear() }
