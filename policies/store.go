package policies

import (
	"context"
	"errors"
	"time"
)

// Version is one saved state of a policy.
type Version struct {
	Name    string    `json:"name"`
	Version int       `json:"version"` // 1, 2, …; also the ETag
	Author  string    `json:"author"`
	Comment string    `json:"comment"`
	At      time.Time `json:"at"`
	Text    string    `json:"text"` // the HCL as saved: one policy block
	Deleted bool      `json:"deleted"`
	Policy  *Policy   `json:"-"` // parsed Text; nil if Deleted, or if Text is not valid in this version of the program
}

// Errors of a Store. ConflictError carries the version that won.
var (
	ErrNotFound = errors.New("no such policy")
	ErrExists   = errors.New("policy exists already")
)

// ConflictError says that a policy has changed since the version an edit was
// based on. Nothing was written.
type ConflictError struct {
	Name    string
	Base    int
	Current Version
}

func (e *ConflictError) Error() string {
	return "policy " + e.Name + " has changed since it was read"
}

// UnreadableError says that stored policies are not valid in this version of
// the program: a newer one may have written them. They are as they were and can
// be changed, rolled back and deleted.
type UnreadableError struct {
	Versions []Version // by name, as they are stored, without Policy
	Err      error     // what is wrong with each of them, joined; ValidationErrors are in it
}

func (e *UnreadableError) Error() string { return e.Err.Error() }

func (e *UnreadableError) Unwrap() error { return e.Err }

// Store keeps policies with their versions. A policy changes only by
// compare-and-set; a reader never sees half a change. Implementations: Memory,
// Redis; one conformance suite runs over both.
type Store interface {
	// List returns the current version of every policy that is not deleted, by
	// name. If some are not valid in this version of the program, it returns the
	// others together with an *UnreadableError that names those: one bad text
	// must not take all other services with it. With any other error the list is
	// nil.
	List(ctx context.Context) ([]Version, error)
	// Get returns the current version, ErrNotFound if there is none or it is deleted.
	// If it is not valid in this version of the program, it is returned without
	// Policy, together with an *UnreadableError.
	Get(ctx context.Context, name string) (Version, error)
	// Put saves text (exactly one policy block with that name, which must be
	// valid: else ValidationErrors) as version base+1. base 0 creates: ErrExists if it is there.
	// A base that is not the current version is a *ConflictError.
	Put(ctx context.Context, name, text string, base int, author, comment string) (Version, error)
	// Delete likewise. The history stays for 30 days; after that it may be
	// forgotten, with the number of the last version.
	Delete(ctx context.Context, name string, base int, author, comment string) (Version, error)
	// Versions returns all versions, newest first, those that are not valid in this
	// version of the program without Policy.
	Versions(ctx context.Context, name string) ([]Version, error)
	// Watch calls changed after List may answer differently, at least once at
	// start and after a reconnection; blocks until ctx ends.
	Watch(ctx context.Context, changed func()) error
}
