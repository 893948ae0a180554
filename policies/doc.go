// Package policies holds the wishes of operators: how many replicas a service
// should have, and when.
//
// A policy is written by people, in HCL, and read by everybody else as a
// Policy. One table (fields.go) names every field with its shape, default and
// meaning; parsing, formatting, JSON, differences and the documentation of
// fields are all driven by it, so that none of them can know a field that the
// others do not.
//
// What the package guarantees:
//
//   - Every error of a document is reported at once, as ValidationErrors, each
//     with its place, the field's path, what is wrong and what is allowed.
//     Unknown names and fields that this version does not act on yet
//     (unsupported.go) are errors: nothing that is written is ignored.
//   - Values are plain. Expressions, functions and variables are refused and
//     never evaluated, and text is bounded in size and nesting, so that text
//     from anybody can be parsed at a bounded cost.
//   - A policy survives: Parse(Format(p)) equals p, Format is stable, and the
//     same holds for JSON.
//   - A Store changes a policy only by compare-and-set, keeps its versions with
//     the text as it was saved (comments included), and never takes a policy
//     that routes the requests or runs the job group of another one.
//
// How it fails: Parse, ParseJSON and Put return ValidationErrors; Put and Delete
// return ErrExists, ErrNotFound or *ConflictError; List and Get return what can
// be read together with an *UnreadableError that names what cannot, so that a
// stored text of another version of the program harms its own service only;
// everything else that a Store returns is a failure of what lies beneath it,
// wrapped with what was being done. A Store never answers with fewer policies
// than there are without an error.
//
// The package does no I/O but in its stores, LoadDir and Unread, and starts no
// goroutine outside Watch.
package policies
