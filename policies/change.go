package policies

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxVersions of one policy are kept; older ones are forgotten.
const maxVersions = 500

// keepRemoved is how long a deleted policy is remembered: its versions, and the
// number with which it goes on if it is created again.
const keepRemoved = 30 * 24 * time.Hour

// newDraft returns the version that Put is to save, still without a number.
func newDraft(name, text, author, comment string) (Version, error) {
	p, err := parseOne(name, text)
	if err != nil {
		return Version{}, err
	}
	return Version{Name: name, Author: author, Comment: comment, At: now(), Text: text, Policy: p}, nil
}

// newTombstone returns the version that Delete is to save, still without a number.
func newTombstone(name, author, comment string) Version {
	return Version{Name: name, Author: author, Comment: comment, At: now(), Deleted: true}
}

// now in the precision that survives JSON in every Store.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// parseOne parses text, which must hold exactly one policy, of that name.
func parseOne(name, text string) (*Policy, error) {
	file, errs := readFile("", []byte(text))
	if len(errs) > 0 {
		return nil, errs.err()
	}
	wrong := func(d *document, field, message, allowed string) error {
		return ValidationErrors{{
			Line: d.at.line, Column: d.at.column, Policy: d.name, Field: field, Message: message, Allowed: allowed,
		}}
	}
	if len(file.docs) > 1 {
		return nil, wrong(file.docs[1], "", "is a second policy", "one policy block")
	}
	if d := file.docs[0]; d.name != name {
		return nil, wrong(d, "name", show(d.name)+" is another policy's name", show(name))
	}
	return file.Policies[0], nil
}

// live returns the current version of a policy that is not deleted, or why
// there is none that can be read.
func live(current map[string]Version, name string) (Version, error) {
	v, ok := current[name]
	switch {
	case !ok || v.Deleted:
		return Version{}, ErrNotFound
	case v.Policy == nil:
		return v, unreadable(v)
	}
	return v, nil
}

// allLive returns the versions that can be read, by name, and an error about
// those that cannot.
func allLive(current map[string]Version) ([]Version, error) {
	var readable, not []Version
	for _, v := range current {
		switch {
		case v.Deleted:
		case v.Policy == nil:
			not = append(not, v)
		default:
			readable = append(readable, v)
		}
	}
	slices.SortFunc(readable, byName)
	if len(not) > 0 {
		slices.SortFunc(not, byName)
		return readable, unreadable(not...)
	}
	return readable, nil
}

func unreadable(versions ...Version) error {
	errs := make([]error, len(versions))
	for i, v := range versions {
		if v.Version == 0 { // a damaged record has no text either
			errs[i] = fmt.Errorf("the record of policy %s cannot be read", v.Name)
			continue
		}
		_, err := parseOne(v.Name, v.Text)
		errs[i] = fmt.Errorf("version %d of policy %s is not valid here: %w", v.Version, v.Name, err)
	}
	return &UnreadableError{Versions: versions, Err: errors.Join(errs...)}
}

// succeed returns draft as the version that follows the current one, if an edit
// that was based on version base may be saved. A deleted policy keeps counting:
// created again it has the number after its deletion, so that a number never
// means two things while the deletion is remembered (keepRemoved).
func succeed(current map[string]Version, draft Version, base int) (Version, error) {
	before, known := current[draft.Name]
	alive := known && !before.Deleted
	switch {
	case draft.Deleted && !alive:
		return Version{}, ErrNotFound
	case !draft.Deleted && base == 0 && alive && before.Version > 0:
		return Version{}, ErrExists
	case base == before.Version:
	case !draft.Deleted && base == 0: // creates a deleted one again
	default:
		before.Name = draft.Name
		return Version{}, &ConflictError{Name: draft.Name, Base: base, Current: before}
	}
	draft.Version = before.Version + 1
	if draft.Deleted {
		return draft, nil
	}
	if err := checkAgainst(current, draft); err != nil {
		return Version{}, err
	}
	return draft, nil
}

// outdated names the policies, without that of next, that were deleted longer
// than keepRemoved before next was made.
func outdated(current map[string]Version, next Version) []string {
	var names []string
	for name, v := range current {
		if name != next.Name && v.Deleted && next.At.Sub(v.At) > keepRemoved {
			names = append(names, name)
		}
	}
	return names
}

// checkAgainst is CheckDraft of the draft and all other policies. One that this
// version cannot read claims nothing.
func checkAgainst(current map[string]Version, draft Version) error {
	var others []*Policy
	for _, v := range current {
		if v.Policy != nil {
			others = append(others, v.Policy)
		}
	}
	return CheckDraft(draft.Policy, draft.Text, others)
}

func byName(a, b Version) int { return cmp.Compare(a.Name, b.Name) }
