package nomad

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
	"time"
)

// callError is the failure of one call as callers may show it to theirs: without
// Nomad's address and without the words of Go's own errors, which it wraps.
type callError struct {
	words string
	err   error
}

func (e *callError) Error() string { return e.words }
func (e *callError) Unwrap() error { return e.err }

// inWords puts the failure of a call that was given the time limit into words.
// ctx is the caller's, without that limit; 0 is no limit of the call's own.
func inWords(ctx context.Context, err error, limit time.Duration) error {
	if err == nil {
		return nil
	}
	return &callError{words: wordsOf(ctx, err, limit), err: err}
}

func wordsOf(ctx context.Context, err error, limit time.Duration) string {
	if status, body := answered(err); status != 0 {
		return fmt.Sprintf("Nomad answered %d: %s", status, clean(body, maxWords))
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "the call to Nomad was called off"
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && limit > 0:
		return fmt.Sprintf("Nomad does not answer within %v", limit)
	case errors.Is(err, context.DeadlineExceeded):
		return "Nomad had not answered when the time for it was over"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "Nomad closed the connection before its answer was complete"
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "Nomad's certificate is not accepted: " + clean(e.Err.Error(), maxWords)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return "Nomad's name cannot be looked up: " + e.Err
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return "Nomad cannot be reached: " + e.Error()
	}
	if e, ok := errors.AsType[*net.OpError](err); ok { // which names both ends
		return "Nomad cannot be reached: " + clean(e.Err.Error(), maxWords)
	}
	if e, ok := errors.AsType[*url.Error](err); ok { // which names the address
		return "Nomad cannot be reached: " + clean(e.Err.Error(), maxWords)
	}
	return clean(err.Error(), maxWords)
}
