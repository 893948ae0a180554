package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// entries are the blocks of one kind that may be repeated, each with a name.
// A policy keeps them in order of their names, whatever order they are written
// in: nothing depends on it, and equal policies are then equal values.
type entries struct {
	most   int // of one policy
	names  func(*Policy) []string
	add    func(*Policy, string)          // one with its defaults
	fields func(prefix, n string) []field // of the one with that name
}

// of returns the fields of the entry with a name, as paths like
// `schedule "office hours".cron`.
func (b *block) of(name string) []field { return b.entries.fields(entryPath(b.name, name)+".", name) }

// entryPath names an entry in messages. Neither a quote nor a dot may stand in
// an entry's name, so that the path can be taken apart again.
func entryPath(blockName, name string) string { return blockName + ` "` + name + `"` }

const entryName = `letters, digits, spaces, "-" and "_", from 1 to 63 characters`

func isEntryName(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && strings.TrimSpace(s) == s && only(s, func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == ' ' || r == '-' || r == '_'
	})
}

// entryNamed returns the entry with a name, nil if there is none.
func entryNamed[T any](list []T, name string, nameOf func(*T) string) *T {
	for i := range list {
		if nameOf(&list[i]) == name {
			return &list[i]
		}
	}
	return nil
}

// withEntry returns a list with one more entry, in order of their names.
func withEntry[T any](list []T, e T, nameOf func(*T) string) []T {
	at, _ := slices.BinarySearchFunc(list, nameOf(&e), func(t T, name string) int { return cmp.Compare(nameOf(&t), name) })
	return slices.Insert(slices.Clip(list), at, e)
}

func namesOf[T any](list []T, nameOf func(*T) string) []string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = nameOf(&list[i])
	}
	return names
}

// fieldsOf returns every field that a policy can name: those of the table, and
// those of its entries.
func fieldsOf(p *Policy) []field {
	all := fields
	for i := range blocks {
		if b := &blocks[i]; b.entries != nil {
			for _, name := range b.entries.names(p) {
				all = append(all[:len(all):len(all)], b.of(name)...)
			}
		}
	}
	return all
}

// fieldIn returns the field of a policy with that path, nil if there is none.
func fieldIn(p *Policy, path string) *field {
	for _, f := range fieldsOf(p) {
		if f.path == path {
			return &f
		}
	}
	return nil
}

// fullLike is a policy with every default, every block that may be absent, and
// the entries that p has, with their defaults.
func fullLike(p *Policy) *Policy {
	d := full(p.Name)
	for i := range blocks {
		if b := &blocks[i]; b.entries != nil {
			for _, name := range b.entries.names(p) {
				b.entries.add(d, name)
			}
		}
	}
	return d
}

// wrongEntries are entries of a policy, built by hand, that no document could
// have: report is told the path of each and what is wrong.
func wrongEntries(p *Policy, report func(path, message, allowed string)) {
	for i := range blocks {
		b := &blocks[i]
		if b.entries == nil {
			continue
		}
		names := b.entries.names(p)
		if len(names) > b.entries.most {
			report(b.name, fmt.Sprintf("%d are too many", len(names)), fmt.Sprintf("at most %d %s blocks", b.entries.most, b.name))
		}
		for i, name := range names {
			switch {
			case !isEntryName(name):
				report(b.name, show(name)+" is not a name of a "+b.name, entryName)
			case slices.Contains(names[:i], name):
				report(entryPath(b.name, name), "is written twice", "another name")
			}
		}
	}
}
