package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/nomad/api"
)

const (
	// firstLine is how long an accepted stream may take to prove that it lives:
	// a refused one (no permission, wrong token) answers 200 as well.
	firstLine = 2 * time.Second
	// silence is how long a living one may say nothing: it has a heartbeat every 30 s.
	silence = 45 * time.Second
)

var (
	errSilent   = errors.New("event stream is silent")
	errRescoped = errors.New("another namespace has to be listened to")
)

// eventLine is one line of the stream; {} is a heartbeat.
type eventLine struct {
	Index  uint64
	Events []event
}

// event keeps the payload as it came, because most are of other people's jobs,
// and because the way through map[string]any would round the times.
type event struct {
	Topic      api.Topic
	Type       string
	Key        string
	Namespace  string
	FilterKeys []string
	Index      uint64
	Payload    json.RawMessage
}

// follow reads the event stream from index on, until it ends; the error says
// why.
func (f *Fleet) follow(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(firstLine, func() { cancel(errSilent) })
	rescoped := make(chan struct{})
	go func() {
		defer close(rescoped)
		select {
		case <-ctx.Done():
		case <-f.rescope:
			cancel(errRescoped)
		}
	}()
	defer func() {
		watchdog.Stop()
		cancel(nil)
		<-rescoped
	}()

	path := fmt.Sprintf("/v1/event/stream?topic=Allocation:*&topic=Evaluation:*&topic=Job:*&topic=Deployment:*&index=%d", index)
	q := (&api.QueryOptions{Namespace: f.pic.scope()}).WithContext(ctx)
	body, err := f.client.Raw().Response(path, q)
	if err != nil {
		return cause(ctx, fmt.Errorf("open event stream: %w", err))
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var line eventLine
		if err := dec.Decode(&line); err != nil {
			return cause(ctx, fmt.Errorf("read event stream: %w", err))
		}
		watchdog.Reset(silence)
		f.pic.hear(time.Now())
		f.streaming.Store(true)
		for _, e := range line.Events {
			if err := f.take(e); err != nil {
				// The next list repairs it.
				f.log.WarnContext(ctx, "event not understood", "topic", e.Topic, "type", e.Type, "err", err)
			}
		}
	}
}

// cause prefers the reason for which a stream was cut to what the cut looked
// like.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	if errors.Is(err, io.EOF) {
		return errors.New("event stream was closed by nomad")
	}
	return err
}

// take applies one event of a tracked job.
func (f *Fleet) take(e event) error {
	id := e.Key
	if e.Topic != api.TopicJob {
		if len(e.FilterKeys) == 0 {
			return nil
		}
		id = e.FilterKeys[0]
	}
	key := jobKey{e.Namespace, id}
	if !f.pic.tracked(key) {
		return nil
	}
	var payload struct {
		Allocation *api.AllocationListStub // the fields of an allocation that a list has
		Evaluation *api.Evaluation
		Job        *api.Job
		Deployment *api.Deployment
		Deleted    bool
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		return err
	}
	switch {
	case e.Topic == api.TopicAllocation && payload.Allocation != nil:
		f.pic.applyAlloc(payload.Allocation)
	case e.Topic == api.TopicEvaluation && payload.Evaluation != nil:
		// Final, or waiting for room: there may be another reason now, or none.
		if payload.Evaluation.Status != api.EvalStatusPending {
			signal(f.doubt)
		}
	case e.Topic == api.TopicDeployment && payload.Deployment != nil:
		f.pic.applyDeployment(payload.Deployment)
	case e.Topic == api.TopicJob && payload.Deleted:
		f.pic.applyAbsent(key, e.Index)
	case e.Topic == api.TopicJob && payload.Job != nil:
		f.heardOfJob(key, toJobInfo(payload.Job))
	}
	return nil
}
