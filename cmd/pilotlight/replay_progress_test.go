package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

func TestAReplayOfAPipeThatStaysSilentIsEndedByTheFirstSignal(t *testing.T) {
	silent, open := io.Pipe()
	defer func() { _ = open.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out bytes.Buffer
	p := policies.New("chat")
	err := replayFlags{Seeds: 1, ColdStart: time.Second, Output: "json"}.replay(ctx, streams{in: silent, out: &out, err: io.Discard}, "-", p)
	if !errors.Is(err, errCancelled) || out.Len() > 0 {
		t.Errorf("it ended with %v, and printed %q", err, out.String())
	}
}

func TestTheTimeThatAReplayStillTakesGoesByWhatIsReplayedAndNotByWhatIsRead(t *testing.T) {
	p := &replayProgress{read: &counting{}, size: 100, trace: &met{}}
	if left, known := p.left(time.Second, 0); known {
		t.Errorf("%v is known before anything was read", left)
	}
	for _, c := range []struct {
		read       int64
		until, at  time.Duration
		took, left time.Duration
	}{
		{50, 4 * time.Hour, time.Hour, 10 * time.Second, 70 * time.Second},  // an eighth
		{100, 4 * time.Hour, time.Hour, 10 * time.Second, 30 * time.Second}, // all is read
		{100, 4 * time.Hour, 4 * time.Hour, 10 * time.Second, 0},
		{120, 4 * time.Hour, 4 * time.Hour, 10 * time.Second, 0}, // the file has grown
	} {
		p.read.n.Store(c.read)
		p.trace.until.Store(int64(c.until))
		if left, known := p.left(c.took, c.at); !known || left.Round(time.Millisecond) != c.left {
			t.Errorf("%+v: %v left (%v)", c, left, known)
		}
	}
}
