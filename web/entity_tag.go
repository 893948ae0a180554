package web

import "strings"

// entityTag is one of a list, as RFC 9110 §8.8.3 writes it.
type entityTag struct {
	opaque string // what stands between the quotes
	weak   bool
}

// parseTags reads the list of If-Match or If-None-Match; "*" is not one. ok is
// false if it is not written as a list of tags.
func parseTags(list string) (tags []entityTag, ok bool) {
	rest := strings.Trim(list, " \t,")
	for rest != "" {
		var tag entityTag
		rest, tag.weak = strings.CutPrefix(rest, "W/")
		quoted, found := strings.CutPrefix(rest, `"`)
		if !found {
			return nil, false
		}
		if tag.opaque, rest, found = strings.Cut(quoted, `"`); !found {
			return nil, false
		}
		tags = append(tags, tag)
		next := strings.TrimLeft(rest, " \t")
		if next != "" && next[0] != ',' {
			return nil, false
		}
		rest = strings.TrimLeft(next, " \t,")
	}
	return tags, len(tags) > 0
}

// matches reports whether tag names a version: weakly, as If-None-Match compares,
// or strongly, as If-Match does, for which a weak tag never matches.
func (tag entityTag) matches(version int, strongly bool) bool {
	return `"`+tag.opaque+`"` == etag(version) && !(strongly && tag.weak)
}
