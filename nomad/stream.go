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
	errSilent = errors.New("event stream is silent: that is how Nomad refuses one, for which the token needs read-job in the namespace; or the way to it is blocked")
	errReopen = errors.New("something else has to be listened to")
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

// follow reads the event stream of a listener from index on, until it ends; the
// error says why.
func (f *Fleet) follow(ctx context.Context, l *listener, index uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(firstLine, func() { cancel(errSilent) })
	reopened := make(chan struct{})
	go func() {
		defer close(reopened)
		select {
		case <-ctx.Done():
		case <-l.reopen:
			cancel(errReopen)
		}
	}()
	defer func() {
		watchdog.Stop()
		cancel(nil)
		<-reopened
	}()

	path := fmt.Sprintf("/v1/event/stream?%s&index=%d", f.topics(), index)
	q := (&api.QueryOptions{Namespace: l.scope}).WithContext(ctx)
	body, err := f.client.Raw().Response(path, q)
	if err != nil {
		return cause(ctx, fmt.Errorf("open event stream: %w", inWords(ctx, err, 0)))
	}
	defer body.Close()
	opened, first := time.Now(), true
	for dec := json.NewDecoder(body); ; {
		var line eventLine
		if err := dec.Decode(&line); err != nil {
			return cause(ctx, fmt.Errorf("read event stream: %w", inWords(ctx, err, 0)))
		}
		watchdog.Reset(silence)
		l.streaming.Store(true)
		if first && len(line.Events) > 0 {
			first = false
			// What Nomad's buffer no longer had is left out without a mark, and would come
			// at once. A list knows it; without, a replica could be seen beside the one that
			// it replaced.
			if line.Index > index && time.Since(opened) < firstLine {
				if _, err := f.relist(ctx, l.scope, 0); err != nil {
					return cause(ctx, err)
				}
			}
		}
		if err := f.takeLine(line); err != nil {
			// The next list repairs it.
			f.log.WarnContext(ctx, "event not understood", "index", line.Index, "err", err)
		}
	}
}

// topics that are listened to. Of nodes only with the right to read them:
// without it Nomad refuses the whole stream.
func (f *Fleet) topics() string {
	topics := "topic=Allocation:*&topic=Evaluation:*&topic=Job:*&topic=Deployment:*"
	if !f.blind.Load() {
		topics += "&topic=Node:*"
	}
	return topics
}

// takeLine applies one line of the stream. Its allocations are applied in one
// step: a replica and the one that replaces it come in one line, and nobody sees
// both as wanted.
func (f *Fleet) takeLine(line eventLine) error {
	var (
		allocs []*api.AllocationListStub
		errs   []error
	)
	for _, e := range line.Events {
		if e.Topic != api.TopicAllocation {
			errs = append(errs, f.take(e))
			continue
		}
		key, ok := e.job()
		if !ok || !f.pic.tracked(key) {
			continue
		}
		var payload struct {
			Allocation *api.AllocationListStub // the fields of an allocation that a list has
		}
		if err := json.Unmarshal(e.Payload, &payload); err != nil {
			errs = append(errs, fmt.Errorf("allocation %s: %w", e.Key, err))
			continue
		}
		if payload.Allocation != nil {
			allocs = append(allocs, payload.Allocation)
		}
		if f.pic.blockedJob(key) {
			signal(f.doubt) // what it holds is being freed, or free
		}
	}
	f.pic.applyAllocs(wholeAllocations(allocs))
	return errors.Join(errs...)
}

// job returns the job that the event is about.
func (e event) job() (jobKey, bool) {
	if e.Topic == api.TopicJob {
		return jobKey{e.Namespace, e.Key}, true
	}
	if len(e.FilterKeys) == 0 {
		return jobKey{}, false
	}
	return jobKey{e.Namespace, e.FilterKeys[0]}, true
}

// cause prefers the reason for which a stream was cut to what the cut looked
// like.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	if errors.Is(err, io.EOF) {
		return errors.New("event stream was closed by Nomad")
	}
	return err
}

// take applies one event of a node or of a tracked job.
func (f *Fleet) take(e event) error {
	if e.Topic == api.TopicNode {
		return f.takeNode(e)
	}
	key, ok := e.job()
	if !ok || !f.pic.tracked(key) {
		return nil
	}
	var payload struct {
		Evaluation *api.Evaluation
		Job        *api.Job
		Deployment *api.Deployment
		Deleted    bool
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		return fmt.Errorf("%s %s %s: %w", e.Topic, e.Type, e.Key, err)
	}
	switch {
	case e.Topic == api.TopicEvaluation && payload.Evaluation != nil:
		// One that waits for room has a reason to read, and any that is over may have
		// ended the reason of one that waited.
		if s := payload.Evaluation.Status; s == api.EvalStatusBlocked || s != api.EvalStatusPending && f.pic.blockedJob(key) {
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

// takeNode applies one event of a node. That it is drained is known before
// anything is asked of its allocations.
func (f *Fleet) takeNode(e event) error {
	var payload struct{ Node *nodeNews }
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		return fmt.Errorf("node %s: %w", e.Key, err)
	}
	if n := payload.Node; n != nil {
		f.pic.applyNode(n.ID, nodeFacts{draining: n.Drain, index: max(n.ModifyIndex, e.Index)})
	}
	return nil
}
