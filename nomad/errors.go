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
	if errors.Is(err, context.Canceled) || errors.Is(err, jobs.ErrDenied) {
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

// denied gives a 403 its type and says what the token needs; other errors stay
// as they are. Nomad answers an unknown token like one that lacks a right.
func denied(err error, capability, namespace string) error {
	if status, _ := answered(err); status != http.StatusForbidden {
		return err
	}
	return fmt.Errorf("%w: the token lacks %s in namespace %q, or Nomad does not know it", jobs.ErrDenied, capability, namespace)
}

// scaleRefused gives an answer to a scale call its type.
func scaleRefused(ref jobs.Ref, err error) error {
	status, body := answered(err)
	switch {
	case status == http.StatusNotFound:
		return jobs.ErrUnknownJob
	case status == http.StatusForbidden:
		return denied(err, "scale-job", ref.Namespace)
	case status == http.StatusBadRequest && strings.Contains(body, "active deployment"):
		return &jobs.DeploymentError{Ref: ref, Message: body}
	case status == http.StatusBadRequest && strings.Contains(body, "does not exist in job"):
		return jobs.ErrUnknownGroup
	}
	return err
}
