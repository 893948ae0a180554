package nomad

import (
	"context"
	"errors"
	"fmt"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// scaleTimeout bounds one Scale, retries included.
const scaleTimeout = retryFor + writeTimeout

// Scale sets the count of the group, with reason and meta for Nomad's own
// records. It makes no call if the count is that already. The count is compared
// and set, and it is not sent again to a job that has another version by then,
// whoever made that: a stale leader must not undo what its successor did.
//
// Errors: jobs.ErrUnknownJob, jobs.ErrPurged, jobs.ErrUnknownGroup, jobs.ErrWrongType, jobs.ErrStopped;
// jobs.ErrChanged if the job was changed since the caller last observed it;
// *jobs.DeploymentError while a deployment blocks scaling; jobs.ErrDenied; otherwise what Nomad said
// last. A call whose answer was lost may have succeeded: Observe tells.
func (f *Fleet) Scale(ctx context.Context, ref jobs.Ref, count int, reason string, meta map[string]string) error {
	return f.scale(ctx, &scaling{fleet: f, ref: ref, count: count, reason: reason, meta: meta})
}

// ScaleFrom is Scale of the job as it was at index ([jobs.Observation]'s) and no
// later: jobs.ErrChanged if it has changed since, by whomever. The same count
// again is a call: Nomad makes a version of the job of it, and no call that
// compares an index of before can succeed any more.
func (f *Fleet) ScaleFrom(ctx context.Context, ref jobs.Ref, index uint64, count int, reason string, meta map[string]string) error {
	return f.scale(ctx, &scaling{fleet: f, ref: ref, count: count, from: index, reason: reason, meta: meta})
}

func (f *Fleet) scale(ctx context.Context, s *scaling) error {
	ref := s.ref
	if s.count < 0 {
		return fmt.Errorf("scale %s: count %d is negative", ref, s.count)
	}
	ctx, cancel := context.WithTimeout(ctx, scaleTimeout)
	defer cancel()
	s.key = f.track(ref)
	end, err := f.turn(ctx, s.key)
	if err != nil {
		return fmt.Errorf("scale %s: %w", ref, err)
	}
	defer end()

	err = retrying(ctx, func() error {
		// Without an index, because Nomad's went back, a call would compare nothing.
		if info, _, _, loaded := f.pic.job(s.key); s.sent || !loaded || info.index == 0 || !f.believed(s.key) {
			if err := s.look(ctx); err != nil {
				return unlessPassing(err)
			}
		}
		return s.send(ctx)
	})
	if _, says := errors.AsType[*jobs.DeploymentError](err); says || err == nil {
		return err // which names the group itself
	}
	return fmt.Errorf("scale %s: %w", ref, err)
}

// scaling is one Scale, over all its tries.
type scaling struct {
	fleet  *Fleet
	key    jobKey
	ref    jobs.Ref
	count  int
	from   uint64 // the only index of the job that will do; 0: the present one
	reason string
	meta   map[string]string

	sent    bool   // a call was made,
	version uint64 // on this version of the job,
	lost    bool   // and may have succeeded although no answer said so
}

// look reads the job again. The version that a call with a lost answer would
// have made is that call's, if it has its count.
func (s *scaling) look(ctx context.Context) error {
	job, err := s.fleet.fetchJob(ctx, s.key)
	if err != nil || job == nil {
		return err
	}
	info := toJobInfo(job)
	if _, group, ok := info.group(s.ref.Group); s.lost && ok && info.version == s.version+1 && group.count == s.count {
		s.fleet.pic.claim(s.key, info.version)
	}
	return s.fleet.applyRead(ctx, s.key, info)
}

// send makes one scale call on what the picture knows. Errors that do not pass
// by themselves are final.
func (s *scaling) send(ctx context.Context) error {
	f := s.fleet
	info, present, known, _ := f.pic.job(s.key)
	if !present {
		if known {
			return backoff.Permanent(jobs.ErrPurged)
		}
		return backoff.Permanent(jobs.ErrUnknownJob)
	}
	if err := info.usable(s.ref.Group); err != nil {
		return backoff.Permanent(err)
	}
	name, group, _ := info.group(s.ref.Group)
	switch {
	case group.count == s.count && (s.from == 0 || s.sent && s.lost && info.version == s.version+1):
		return nil
	case s.from != 0 && info.modifyIndex != s.from,
		s.sent && info.version != s.version, f.pic.unseen(s.key, s.ref, name):
		return backoff.Permanent(jobs.ErrChanged)
	}
	req := &api.ScalingRequest{
		Count:          new(int64(s.count)),
		Target:         map[string]string{"Group": name},
		Message:        s.reason,
		Meta:           marked(s.meta, markOf(info.version+1)),
		JobModifyIndex: info.modifyIndex,
	}
	s.sent, s.version = true, info.version
	var resp *api.JobRegisterResponse
	err := write(ctx, s.key.namespace, func(w *api.WriteOptions) (err error) {
		resp, _, err = f.client.Jobs().ScaleWithRequest(s.key.id, req, w)
		return err
	})
	switch {
	case err == nil:
		f.pic.applyScale(s.key, name, s.count, resp.JobModifyIndex)
		f.log.InfoContext(ctx, "scaled", "job", s.key.String(), "group", name,
			"from", group.count, "to", s.count, "reason", s.reason)
		return nil
	case conflict(err), passing(err):
		s.lost = s.lost || !conflict(err)
		f.log.InfoContext(ctx, "scale did not succeed, job is read again", "job", s.key.String(), "err", err)
		return scaleRefused(s.ref, err)
	}
	return backoff.Permanent(scaleRefused(s.ref, err))
}

// marked returns meta with the mark of Pilotlight.
func marked(meta map[string]string, mark string) map[string]any {
	m := make(map[string]any, len(meta)+1)
	for k, v := range meta {
		m[k] = v
	}
	m[markKey] = mark
	return m
}
