package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/policies"
)

// Problem is an error answer of the API (RFC 9457, application/problem+json).
type Problem struct {
	Type        string         `json:"type"` // urn:pilotlight:problem:NAME
	Title       string         `json:"title"`
	Status      int            `json:"status"`
	Detail      string         `json:"detail"`
	Service     string         `json:"service,omitempty"`
	RetryAfterS int            `json:"retry_after_s,omitempty"`
	Errors      []FieldProblem `json:"errors,omitempty"`  // 422: all that is wrong
	Current     *VersionInfo   `json:"current,omitempty"` // 412: the version that won
}

// FieldProblem is one thing that is wrong with a document or a request.
type FieldProblem struct {
	Field   string `json:"field"`
	Line    int    `json:"line"` // 0: of no line
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Allowed string `json:"allowed"`
}

const problemURN = "urn:pilotlight:problem:"

func newProblem(status int, name, detail string) *Problem {
	return &Problem{Type: problemURN + name, Title: http.StatusText(status), Status: status, Detail: detail}
}

// Error makes a Problem what a handler returns.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

func (p *Problem) send(c echo.Context) error {
	if c.Request().Method == http.MethodHead {
		return c.NoContent(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.Blob(p.Status, "application/problem+json", body)
}

// write answers p where there is no echo.Context yet.
func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client has gone: nobody to tell
}

func badRequest(detail string) *Problem {
	return newProblem(http.StatusBadRequest, "bad-request", detail)
}

func unknownService(name string) *Problem {
	p := newProblem(http.StatusNotFound, "unknown-service", "there is no policy and no service of the name "+quoteName(name))
	p.Service = name
	return p
}

// unreadablePolicy answers for a stored policy that has no JSON document here.
func unreadablePolicy(v policies.Version) *Problem {
	p := newProblem(http.StatusInternalServerError, "policy-unreadable",
		fmt.Sprintf("version %d is not valid in this version of the program; it can be read as text/hcl, changed and deleted", v.Version))
	p.Service, p.Errors = v.Name, textProblems(v)
	return p
}

// problemOf is the one table from errors to status codes.
func problemOf(err error) *Problem {
	var (
		problem  *Problem
		conflict *policies.ConflictError
		unread   *policies.UnreadableError
		invalid  policies.ValidationErrors
		tooLarge *http.MaxBytesError
		routing  *echo.HTTPError
	)
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &conflict):
		p := newProblem(http.StatusPreconditionFailed, "policy-changed", conflict.Error()+"; nothing was written")
		info := infoOf(conflict.Current)
		p.Service, p.Current = conflict.Name, &info
		return p
	case errors.As(err, &unread): // before what is wrong with its text, which is no fault of the request
		return unreadablePolicy(unread.Versions[0])
	case errors.As(err, &invalid):
		p := newProblem(http.StatusUnprocessableEntity, "invalid-policy", "the policy is wrong; nothing was written")
		p.Errors = fieldProblems(invalid)
		return p
	case errors.Is(err, policies.ErrExists):
		return newProblem(http.StatusPreconditionFailed, "policy-exists", "a policy of that name exists already; nothing was written")
	case errors.Is(err, policies.ErrNotFound):
		return newProblem(http.StatusNotFound, "unknown-policy", "there is no policy of that name")
	case errors.Is(err, ErrUnknownRequest):
		return newProblem(http.StatusNotFound, "unknown-request", err.Error())
	case errors.Is(err, ErrOfConnection):
		return newProblem(http.StatusConflict, "request-of-connection", err.Error())
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "body-too-large", "the body is larger than this route takes")
	case errors.As(err, &routing):
		switch routing.Code {
		case http.StatusNotFound:
			return newProblem(http.StatusNotFound, "not-found", "there is nothing at this address")
		case http.StatusMethodNotAllowed:
			return newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "this address does not take that method")
		}
		return newProblem(routing.Code, "bad-request", http.StatusText(routing.Code))
	case errors.Is(err, context.DeadlineExceeded), isStoreError(err):
		p := newProblem(http.StatusServiceUnavailable, "store-unavailable", "the store does not answer; nothing is known to have changed")
		p.RetryAfterS = 2
		return p
	}
	return newProblem(http.StatusInternalServerError, "internal", "the control plane failed on this request; its log says why")
}

// storeError marks a failure of Services or of the policy store.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func isStoreError(err error) bool {
	var s *storeError
	return errors.As(err, &s)
}

// fromStore marks err as the store's unless it is an answer of the store.
func fromStore(err error) error {
	if err == nil {
		return nil
	}
	var (
		conflict *policies.ConflictError
		invalid  policies.ValidationErrors
	)
	if errors.Is(err, policies.ErrNotFound) || errors.Is(err, policies.ErrExists) ||
		errors.As(err, &conflict) || errors.As(err, &invalid) {
		return err
	}
	return &storeError{err}
}

func fieldProblems(invalid policies.ValidationErrors) []FieldProblem {
	out := make([]FieldProblem, 0, len(invalid))
	for _, e := range invalid {
		out = append(out, FieldProblem{Field: e.Field, Line: e.Line, Column: e.Column, Message: e.Message, Allowed: e.Allowed})
	}
	return out
}
