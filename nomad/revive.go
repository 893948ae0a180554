package nomad

import (
	"cmp"
	"context"
	"fmt"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// Revive starts a stopped job again as it was, with count 0 in the group of ref,
// and registers one that Nomad does not have from spec. It changes nothing of a
// job that may run.
//
// Errors: jobs.ErrUnknownJob if there is nothing to register (spec is nil);
// jobs.ErrUnknownGroup, jobs.ErrWrongType, jobs.ErrDenied; what Nomad says of a wrong spec.
func (f *Fleet) Revive(ctx context.Context, spec *jobs.Spec, ref jobs.Ref, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	key := f.track(ref)
	end, err := f.turn(ctx, key)
	if err != nil {
		return fmt.Errorf("revive %s: %w", ref, err)
	}
	defer end()
	err = retrying(ctx, func() error { return unlessPassing(f.revive(ctx, key, spec, ref.Group, reason)) })
	if err != nil {
		return fmt.Errorf("revive %s: %w", ref, err)
	}
	f.ship(ctx, key, spec)
	return nil
}

func (f *Fleet) revive(ctx context.Context, key jobKey, spec *jobs.Spec, group, reason string) error {
	job, err := f.fetchJob(ctx, key)
	switch {
	case err != nil:
		return err
	case job == nil && (spec == nil || spec.Source == ""):
		return backoff.Permanent(fmt.Errorf("%w, and there is no job spec to register", jobs.ErrUnknownJob))
	case job == nil:
		return f.registerNew(ctx, key, spec, group)
	}
	info := toJobInfo(job)
	tg := groupOf(job, group)
	switch {
	case tg == nil:
		return backoff.Permanent(jobs.ErrUnknownGroup)
	case !info.stopped:
		if err := f.applyRead(ctx, key, info); err != nil {
			return err
		}
		return f.settled(ctx, key, info, group)
	}
	job.Stop, tg.Count = new(false), new(int)
	err = write(ctx, key.namespace, func(w *api.WriteOptions) error {
		// Nomad keeps the source that was submitted with an earlier version.
		_, _, err := f.client.Jobs().RegisterOpts(job, &api.RegisterOptions{EnforceIndex: true, ModifyIndex: info.modifyIndex}, w)
		return err
	})
	if err != nil { // after a lost compare it is read again
		return fmt.Errorf("start it again: %w", denied(err, "submit-job", key.namespace))
	}
	f.log.InfoContext(ctx, "started a stopped job again at count 0", "job", key.String(), "reason", reason)
	f.leaveMark(ctx, key, deref(tg.Name), info.version+1, cmp.Or(reason, "started again"))
	return f.readJob(ctx, key)
}
