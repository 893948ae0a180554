package nomad

import (
	"context"
	"fmt"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// scaleTimeout bounds one Scale, retries included.
const scaleTimeout = retryFor + writeTimeout

// Scale sets the count of the group, with reason and meta for Nomad's own
// records. It makes no call if the count is that already. The count is compared
// and set: if somebody else changed the job meanwhile it is read again first.
//
// Errors: jobs.ErrUnknownJob, jobs.ErrPurged, jobs.ErrUnknownGroup, jobs.ErrWrongType, jobs.ErrStopped;
// *jobs.DeploymentError while a deployment blocks scaling; otherwise what Nomad said
// last. A call whose answer was lost may have succeeded: Observe tells.
func (f *Fleet) Scale(ctx context.Context, ref jobs.Ref, count int, reason string, meta map[string]string) error {
	if count < 0 {
		return fmt.Errorf("scale %s: count %d is negative", ref, count)
	}
	ctx, cancel := context.WithTimeout(ctx, scaleTimeout)
	defer cancel()
	key := f.track(ref)
	end, err := f.turn(ctx, key)
	if err != nil {
		return fmt.Errorf("scale %s: %w", ref, err)
	}
	defer end()

	first := true
	return retrying(ctx, func() error {
		_, _, _, loaded := f.pic.job(key)
		if !first || !loaded || !f.believed() {
			if err := f.readJob(ctx, key); err != nil {
				return unlessPassing(fmt.Errorf("scale %s: %w", ref, err))
			}
		}
		first = false
		return f.scaleOnce(ctx, key, ref, count, reason, meta)
	})
}

// scaleOnce sends one scale call on what the picture knows. Errors that do not
// pass by themselves are final.
func (f *Fleet) scaleOnce(ctx context.Context, key jobKey, ref jobs.Ref, count int, reason string, meta map[string]string) error {
	info, present, known, _ := f.pic.job(key)
	if !present {
		if known {
			return backoff.Permanent(fmt.Errorf("scale %s: %w", ref, jobs.ErrPurged))
		}
		return backoff.Permanent(fmt.Errorf("scale %s: %w", ref, jobs.ErrUnknownJob))
	}
	if err := info.usable(ref.Group); err != nil {
		return backoff.Permanent(fmt.Errorf("scale %s: %w", ref, err))
	}
	name, group, _ := info.group(ref.Group)
	if group.count == count {
		return nil
	}
	req := &api.ScalingRequest{
		Count:          new(int64(count)),
		Target:         map[string]string{"Group": name},
		Message:        reason,
		Meta:           make(map[string]any, len(meta)),
		JobModifyIndex: info.modifyIndex,
	}
	for k, v := range meta {
		req.Meta[k] = v
	}
	var resp *api.JobRegisterResponse
	err := write(ctx, key.namespace, func(w *api.WriteOptions) (err error) {
		resp, _, err = f.client.Jobs().ScaleWithRequest(key.id, req, w)
		return err
	})
	switch {
	case err == nil:
		f.pic.applyScale(key, name, count, resp.JobModifyIndex)
		f.log.InfoContext(ctx, "scaled", "job", key.String(), "group", name,
			"from", group.count, "to", count, "reason", reason)
		return nil
	case conflict(err), passing(err):
		f.log.InfoContext(ctx, "scale did not succeed, job is read again", "job", key.String(), "err", err)
		return scaleRefused(ref, err)
	}
	return backoff.Permanent(scaleRefused(ref, err))
}
