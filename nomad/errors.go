package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// What a caller may want to tell apart.
var (
	// ErrUnknownJob: Nomad has no job of that id in that namespace.
	ErrUnknownJob = errors.New("job is not known to nomad")
	// ErrPurged: the job was there and is not any more. It is an ErrUnknownJob too.
	ErrPurged = fmt.Errorf("%w: it was purged and is not created again; register it with nomad job run", ErrUnknownJob)
	// ErrUnknownGroup: the job has no task group of that name, or several and
	// none was named.
	ErrUnknownGroup = errors.New("task group is not in the job")
	// ErrStopped: the job was stopped by an operator; a scale would be accepted
	// and start nothing.
	ErrStopped = errors.New("job is stopped in nomad; start it again with nomad job start")
	// ErrWrongType: the job is not of type service, or is periodic or
	// parameterized, and cannot be scaled by replicas.
	ErrWrongType = errors.New("job cannot be scaled: only jobs of type service, neither periodic nor parameterized, can")
)

// DeploymentError says that a scale was refused because a deployment of the
// job is active. It passes by itself, or when an operator ends the deployment.
type DeploymentError struct {
	Ref     jobs.Ref
	Message string // Nomad's own words
}

func (e *DeploymentError) Error() string {
	return fmt.Sprintf("scale %s: %s (a job with update { max_parallel = 0 } never waits for one)", e.Ref, e.Message)
}

// answered returns status and body of an answer other than 200; 0 if err is
// none such.
func answered(err error) (status int, body string) {
	if e, ok := errors.AsType[api.UnexpectedResponseError](err); ok {
		return e.StatusCode(), e.Body()
	}
	return 0, ""
}

// conflict reports whether a compare-and-set lost. Nomad answers it as a 500.
func conflict(err error) bool {
	status, body := answered(err)
	return status == http.StatusInternalServerError && strings.Contains(body, "Enforcing job modify index")
}

// notFound reports a 404.
func notFound(err error) bool {
	status, _ := answered(err)
	return status == http.StatusNotFound
}

// passing reports whether the same call may succeed a moment later: the
// connection failed, a deadline of the call itself passed, Nomad was too busy or
// had no leader. What Nomad says about the request itself does not pass.
func passing(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	status, body := answered(err)
	switch {
	case status == 0:
		return true
	case status == http.StatusTooManyRequests:
		return true
	case status >= http.StatusInternalServerError:
		return !strings.Contains(body, "error occurred") // a validation text
	}
	return false
}

// scaleRefused gives an answer to a scale call its type.
func scaleRefused(ref jobs.Ref, err error) error {
	status, body := answered(err)
	switch {
	case status == http.StatusNotFound:
		return fmt.Errorf("scale %s: %w", ref, ErrUnknownJob)
	case status == http.StatusBadRequest && strings.Contains(body, "active deployment"):
		return &DeploymentError{Ref: ref, Message: body}
	case status == http.StatusBadRequest && strings.Contains(body, "does not exist in job"):
		return fmt.Errorf("scale %s: %w", ref, ErrUnknownGroup)
	case status != 0:
		return fmt.Errorf("scale %s: nomad answered %d: %s", ref, status, body)
	}
	return fmt.Errorf("scale %s: %w", ref, err)
}
