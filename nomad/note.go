package nomad

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// noteAgain is for how long the same note is not left again. Nomad keeps the
// last twenty scaling events of a group, and these tell who scaled it.
const noteAgain = 10 * time.Minute

// Note leaves message and meta as a scaling event without a count: it shows in
// Nomad's own UI, as an error while the group cannot be placed, and changes
// nothing. The same message again within noteAgain is no call.
//
// Errors: jobs.ErrUnknownJob, jobs.ErrPurged, jobs.ErrUnknownGroup, jobs.ErrDenied; what Nomad
// said. Nothing depends on a note: it is tried once.
func (f *Fleet) Note(ctx context.Context, ref jobs.Ref, message string, meta map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	key := f.track(ref)
	if _, _, _, loaded := f.pic.job(key); !loaded {
		if err := f.readJob(ctx, key); err != nil {
			return fmt.Errorf("note on %s: %w", ref, err)
		}
	}
	info, present, known, _ := f.pic.job(key)
	name, _, found := info.group(ref.Group)
	switch {
	case !present && known:
		return fmt.Errorf("note on %s: %w", ref, jobs.ErrPurged)
	case !present:
		return fmt.Errorf("note on %s: %w", ref, jobs.ErrUnknownJob)
	case !found:
		return fmt.Errorf("note on %s: %w", ref, jobs.ErrUnknownGroup)
	}
	blocked, noted := f.pic.noted(key, name, message, time.Now())
	if noted {
		return nil
	}
	err := f.remark(ctx, key, &api.ScalingRequest{
		Target:  map[string]string{"Group": name},
		Message: message,
		Meta:    marked(meta, markNote),
		Error:   blocked,
	})
	if err != nil {
		return fmt.Errorf("note on %s: %w", ref, err)
	}
	f.pic.keepNote(key, name, message, time.Now())
	return nil
}

// leaveMark tells later processes that this version of the job is Pilotlight's.
// Without it they take it for somebody else's, which is shown and harmless.
func (f *Fleet) leaveMark(ctx context.Context, key jobKey, group string, version uint64, message string) {
	f.pic.claim(key, version)
	err := f.remark(ctx, key, &api.ScalingRequest{
		Target:  map[string]string{"Group": group},
		Message: message,
		Meta:    marked(nil, markOf(version)),
	})
	if err != nil {
		f.log.DebugContext(ctx, "cannot leave a mark on a job", "job", key.String(), "err", err)
	}
}

// remark makes one scale call without a count. The index that Nomad answers is
// another one than that of a scale, and is not used.
func (f *Fleet) remark(ctx context.Context, key jobKey, req *api.ScalingRequest) error {
	err := write(ctx, key.namespace, func(w *api.WriteOptions) error {
		_, _, err := f.client.Jobs().ScaleWithRequest(key.id, req, w)
		return err
	})
	if notFound(err) {
		return jobs.ErrUnknownJob
	}
	return denied(err, "scale-job", key.namespace)
}

// noted reports whether the group cannot be placed, and whether the message was
// left on it not long ago.
func (p *picture) noted(key jobKey, group, message string, now time.Time) (blocked, noted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return false, false
	}
	at, left := j.notes[group][message]
	return j.short(group) && j.blocked[group] != "", left && now.Sub(at) < noteAgain
}

func (p *picture) keepNote(key jobKey, group, message string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[key]
	if j == nil {
		return
	}
	if j.notes[group] == nil {
		j.notes[group] = make(map[string]time.Time)
	}
	maps.DeleteFunc(j.notes[group], func(_ string, at time.Time) bool { return now.Sub(at) >= noteAgain })
	j.notes[group][message] = now
}
