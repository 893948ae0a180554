package nomad

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// ensureTimeout bounds one Ensure, retries included.
const ensureTimeout = 30 * time.Second

// Ensure registers the job of spec with count 0 in the group of ref if Nomad
// does not have it. A job that is there is left as it is, whoever registered it.
// Of two processes that register at once one does, and both are content.
//
// Errors: jobs.ErrStopped, jobs.ErrUnknownGroup and jobs.ErrWrongType of a job that is there;
// jobs.ErrPurged if the caller, or this Fleet, has seen the job before and Nomad has it no more;
// jobs.ErrUnknownJob if there is nothing to register (spec is nil); what Nomad says
// of a wrong spec.
func (f *Fleet) Ensure(ctx context.Context, spec *jobs.Spec, ref jobs.Ref, seen bool) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	key := f.track(ref)
	end, err := f.turn(ctx, key)
	if err != nil {
		return fmt.Errorf("ensure %s: %w", ref, err)
	}
	defer end()
	err = retrying(ctx, func() error {
		return unlessPassing(f.ensure(ctx, key, spec, ref.Group, seen))
	})
	if err != nil {
		return fmt.Errorf("ensure %s: %w", ref, err)
	}
	return nil
}

func (f *Fleet) ensure(ctx context.Context, key jobKey, spec *jobs.Spec, group string, seen bool) error {
	info, present, known, loaded := f.pic.job(key)
	if !present || !loaded || !f.believed() {
		if err := f.readJob(ctx, key); err != nil {
			return err
		}
		info, present, known, _ = f.pic.job(key)
	}
	switch {
	case present:
		return f.settled(ctx, key, info, group)
	case known || seen:
		return backoff.Permanent(jobs.ErrPurged)
	case spec == nil || spec.Source == "":
		return backoff.Permanent(jobs.ErrUnknownJob)
	}
	if err := f.register(ctx, key, spec, group); err != nil {
		return err
	}
	if err := f.readJob(ctx, key); err != nil {
		return err
	}
	info, _, _, _ = f.pic.job(key)
	return f.settled(ctx, key, info, group)
}

// settled judges a job that Nomad has; trying again does not change it.
func (f *Fleet) settled(ctx context.Context, key jobKey, info jobInfo, group string) error {
	if err := info.usable(group); err != nil {
		return backoff.Permanent(err)
	}
	if name, g, _ := info.group(group); g.deployments {
		f.log.WarnContext(ctx, "each scale of this job opens a deployment that blocks the next one: set update { max_parallel = 0 }",
			"job", key.String(), "group", name)
	}
	return nil
}

// register lets Nomad parse the spec and registers it, only if the job is new.
func (f *Fleet) register(ctx context.Context, key jobKey, spec *jobs.Spec, group string) error {
	var job api.Job
	err := write(ctx, key.namespace, func(w *api.WriteOptions) error {
		// Jobs().ParseHCLOpts takes no context.
		_, err := f.client.Raw().Write("/v1/jobs/parse", &api.JobsParseRequest{JobHCL: spec.Source, Canonicalize: true}, &job, w)
		return err
	})
	if err != nil {
		return fmt.Errorf("parse %s: %w", spec.File, err)
	}
	if id := deref(job.ID); id != key.id {
		return backoff.Permanent(fmt.Errorf("%s defines job %q, not %q", spec.File, id, key.id))
	}
	tg := groupOf(&job, group)
	if tg == nil {
		return backoff.Permanent(fmt.Errorf("%s: %w", spec.File, jobs.ErrUnknownGroup))
	}
	tg.Count = new(int)
	job.Namespace = &key.namespace
	err = write(ctx, key.namespace, func(w *api.WriteOptions) error {
		_, _, err := f.client.Jobs().RegisterOpts(&job, &api.RegisterOptions{
			EnforceIndex: true, // index 0: only if the job is new
			Submission:   &api.JobSubmission{Source: spec.Source, Format: "hcl2"},
		}, w)
		return err
	})
	switch {
	case conflict(err):
		f.log.InfoContext(ctx, "job was registered by somebody else meanwhile", "job", key.String())
		return nil
	case err != nil:
		return fmt.Errorf("register: %w", err)
	}
	f.log.InfoContext(ctx, "registered job at count 0", "job", key.String(), "file", spec.File)
	return nil
}

// groupOf finds the named group, or the only one if name is "".
func groupOf(job *api.Job, name string) *api.TaskGroup {
	if name == "" && len(job.TaskGroups) == 1 {
		return job.TaskGroups[0]
	}
	return job.LookupTaskGroup(name)
}

// readJob asks Nomad for the job and takes the answer into the picture.
func (f *Fleet) readJob(ctx context.Context, key jobKey) error {
	before, _, _, _ := f.pic.job(key)
	var job *api.Job
	err := read(ctx, key.namespace, func(q *api.QueryOptions) (err error) {
		job, _, err = f.client.Jobs().Info(key.id, q)
		return err
	})
	switch {
	case notFound(err):
		f.pic.applyAbsent(key, before.index)
		return nil
	case err != nil:
		return fmt.Errorf("read job %s: %w", key, err)
	case job == nil:
		return errors.New("read job " + key.String() + ": nomad answered nothing")
	}
	f.pic.applyJob(key, toJobInfo(job))
	return nil
}
