package nomad

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// ensureTimeout bounds one Ensure, retries included.
const ensureTimeout = 30 * time.Second

// Ensure registers the job of spec with count 0 in the group of ref if Nomad
// does not have it. A job that is there is left as it is, whoever registered it,
// also if it is stopped; how it differs from spec is in Observation.Drift soon
// after, and again whenever somebody else changes the job. spec may be nil. Of
// two processes that register at once one does, and both are content.
//
// Errors: jobs.ErrUnknownGroup and jobs.ErrWrongType of a job that is there;
// jobs.ErrPurged if the caller, or this Fleet, has seen the job before and Nomad has it no more;
// jobs.ErrUnknownJob if there is nothing to register (spec is nil); jobs.ErrDenied; what Nomad says
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
	f.ship(ctx, key, spec)
	return nil
}

func (f *Fleet) ensure(ctx context.Context, key jobKey, spec *jobs.Spec, group string, seen bool) error {
	info, present, known, loaded := f.pic.job(key)
	if !present || !loaded || !f.believed(key) {
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
	return f.registerNew(ctx, key, spec, group)
}

// registerNew registers the job of spec, which Nomad does not have, at count 0.
func (f *Fleet) registerNew(ctx context.Context, key jobKey, spec *jobs.Spec, group string) error {
	ours, err := f.register(ctx, key, spec, group)
	if err != nil {
		return err
	}
	if err := f.readJob(ctx, key); err != nil {
		return err
	}
	if ours {
		f.pic.shipped(key, spec)
	}
	info, _, _, _ := f.pic.job(key)
	return f.settled(ctx, key, info, group)
}

// settled judges a job that Nomad has; trying again does not change it.
func (f *Fleet) settled(ctx context.Context, key jobKey, info jobInfo, group string) error {
	if err := info.usable(group); err != nil && !errors.Is(err, jobs.ErrStopped) {
		return backoff.Permanent(err)
	}
	if name, g, _ := info.group(group); g.deployments {
		f.log.WarnContext(ctx, "each scale of this job opens a deployment that blocks the next one: set update { max_parallel = 0 }",
			"job", key.String(), "group", name)
	}
	return nil
}

// parse lets Nomad read the spec.
func (f *Fleet) parse(ctx context.Context, key jobKey, spec *jobs.Spec) (*api.Job, error) {
	var job api.Job
	err := write(ctx, key.namespace, func(w *api.WriteOptions) error {
		// Jobs().ParseHCLOpts takes no context.
		_, err := f.client.Raw().Write("/v1/jobs/parse", &api.JobsParseRequest{JobHCL: spec.Source, Canonicalize: true}, &job, w)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", spec.File, denied(err, "parse-job", key.namespace))
	}
	wholeJob(&job)
	if id := deref(job.ID); id != key.id {
		return nil, backoff.Permanent(fmt.Errorf("%s defines job %q, not %q", spec.File, id, key.id))
	}
	job.Namespace = &key.namespace
	return &job, nil
}

// register lets Nomad parse the spec and registers it, only if the job is new;
// ours is false if somebody else did meanwhile.
func (f *Fleet) register(ctx context.Context, key jobKey, spec *jobs.Spec, group string) (ours bool, err error) {
	job, err := f.parse(ctx, key, spec)
	if err != nil {
		return false, err
	}
	tg := groupOf(job, group)
	if tg == nil {
		return false, backoff.Permanent(fmt.Errorf("%s: %w", spec.File, jobs.ErrUnknownGroup))
	}
	tg.Count = new(int)
	err = write(ctx, key.namespace, func(w *api.WriteOptions) error {
		_, _, err := f.client.Jobs().RegisterOpts(job, &api.RegisterOptions{
			EnforceIndex: true, // index 0: only if the job is new
			Submission:   &api.JobSubmission{Source: spec.Source, Format: "hcl2"},
		}, w)
		return err
	})
	switch {
	case conflict(err):
		f.log.InfoContext(ctx, "job was registered by somebody else meanwhile", "job", key.String())
		return false, nil
	case err != nil:
		return false, fmt.Errorf("register: %w", denied(err, "submit-job", key.namespace))
	}
	f.log.InfoContext(ctx, "registered job at count 0", "job", key.String(), "file", spec.File)
	f.leaveMark(ctx, key, deref(tg.Name), 0, "registered at count 0 from "+filepath.Base(spec.File))
	return true, nil
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
	job, err := f.fetchJob(ctx, key)
	if err != nil || job == nil {
		return err
	}
	return f.applyRead(ctx, key, toJobInfo(job))
}

// fetchJob asks Nomad for the job; nil if there is none, which the picture then
// knows.
func (f *Fleet) fetchJob(ctx context.Context, key jobKey) (*api.Job, error) {
	before, _, _, _ := f.pic.job(key)
	var job *api.Job
	err := read(ctx, key.namespace, func(q *api.QueryOptions) (err error) {
		job, _, err = f.client.Jobs().Info(key.id, q)
		return err
	})
	switch {
	case notFound(err):
		f.pic.applyAbsent(key, before.index)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read job %s: %w", key, denied(err, "read-job", key.namespace))
	case job == nil:
		return nil, fmt.Errorf("read job %s: nomad answered nothing", key)
	}
	return job, nil
}
