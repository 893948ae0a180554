package nomad

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/nomad/api"
)

// difference is one field in which two versions of a job differ, or a whole block
// that only one of them has.
type difference struct {
	kind        string // ChangeAdded, ChangeDeleted, ChangeEdited
	group, task string // "" of the job, of the group
	path        string // below that, as job specs write it: config.image; "" the group or task itself
	whole       bool   // a block, which has no values
	hidden      bool   // the values are private, and left out
	old, new    string
}

// differences flattens Nomad's tree of differences, for all who show one: what
// must not be shown is left out here, once. A block that only one version has is
// one difference, or with apart one for each of its fields.
func differences(d *api.JobDiff, apart bool) []difference {
	w := differenceWalk{apart: apart}
	w.fields(difference{}, d.Fields)
	w.objects(difference{}, d.Objects)
	for _, tg := range d.TaskGroups {
		group := difference{group: tg.Name}
		if w.settled(group, tg.Type) {
			continue
		}
		w.fields(group, tg.Fields)
		w.objects(group, tg.Objects)
		for _, t := range tg.Tasks {
			task := difference{group: tg.Name, task: t.Name}
			if w.settled(task, t.Type) {
				continue
			}
			w.fields(task, t.Fields)
			w.objects(task, t.Objects)
		}
	}
	return w.found
}

type differenceWalk struct {
	apart bool
	found []difference
}

// settled reports whether no more has to be said of a block: it is the same in
// both, or only one has it and that was said.
func (w *differenceWalk) settled(at difference, kind string) bool {
	switch kind = strings.ToLower(kind); {
	case kind == ChangeEdited:
		return false
	case kind != ChangeAdded && kind != ChangeDeleted:
		return true
	case w.apart:
		return false
	}
	at.kind, at.whole = kind, true
	w.found = append(w.found, at)
	return true
}

func (w *differenceWalk) objects(at difference, objects []*api.ObjectDiff) {
	for _, o := range objects {
		in := at
		in.path = join(at.path, snake(o.Name))
		if w.settled(in, o.Type) {
			continue
		}
		w.fields(in, o.Fields)
		w.objects(in, o.Objects)
	}
}

func (w *differenceWalk) fields(at difference, fields []*api.FieldDiff) {
	secrets := announced(fields)
	for _, f := range fields {
		kind := strings.ToLower(f.Type)
		if kind != ChangeAdded && kind != ChangeDeleted && kind != ChangeEdited {
			continue
		}
		d := at
		d.kind, d.path = kind, join(at.path, snake(f.Name))
		d.hidden = privateName.MatchString(d.path) || secrets[f.Name] || privateValue(f.Old) || privateValue(f.New)
		if !d.hidden {
			d.old, d.new = readable(f.Name, f.Old), readable(f.Name, f.New)
		}
		w.found = append(w.found, d)
	}
}

// announced returns the elements of lists that come after one which names a
// secret: args "--api-key", "sk-…".
func announced(fields []*api.FieldDiff) map[string]bool {
	var secrets map[string]bool
	for _, f := range fields {
		if !secretFlag.MatchString(f.Old) && !secretFlag.MatchString(f.New) {
			continue
		}
		name, index := f.Name, 0
		if open := strings.LastIndexByte(name, '['); open < 0 {
			continue
		} else if n, err := fmt.Sscanf(name[open:], "[%d]", &index); n != 1 || err != nil {
			continue
		} else {
			name = name[:open]
		}
		if secrets == nil {
			secrets = map[string]bool{}
		}
		secrets[fmt.Sprintf("%s[%d]", name, index+1)] = true
	}
	return secrets
}

const secretWords = `api[-_]?keys?|access[-_]?keys?|private[-_]?keys?|ssh[-_]?keys?|tokens?|secrets?|passw(or)?ds?|passphrases?|credentials?|authorization|bearer`

var (
	// privateName of a field, in the spelling of job specs. Environments, metadata
	// and templates carry secrets under any name.
	privateName = regexp.MustCompile(`(?i)(^|[._])(env|environment|meta|embedded_tmpl)($|[.\[])|auth|header|` + secretWords)
	// privateValues are secrets among what a field says: TOKEN=…, --api-key=…, the
	// password of a URL. --max-num-batched-tokens=8192 is none.
	privateValues = []*regexp.Regexp{
		regexp.MustCompile(`(?i)(^|[^a-z])(api[-_]?key|access[-_]?key|private[-_]?key|ssh[-_]?key|token|secret|passw(or)?d|passphrase|credentials?|authorization|bearer)["']?\s*([=:]|\s)\s*\S`),
		regexp.MustCompile(`://[^/\s@]*:[^/\s@]*@`),
		regexp.MustCompile(`(^|[^A-Za-z0-9])(sk-|hf_)[A-Za-z0-9]|-----BEGIN`),
	}
	// secretFlag is an argument that says that the next one is a secret.
	secretFlag = regexp.MustCompile(`(?i)^-.*(api[-_]?key|access[-_]?key|private[-_]?key|token|secret|passw(or)?d|passphrase|credentials?|authorization|header)$|^-H$`)
)

func privateValue(value string) bool {
	return slices.ContainsFunc(privateValues, func(re *regexp.Regexp) bool { return re.MatchString(value) })
}

// readable writes durations as people do; Nomad tells them in nanoseconds.
func readable(name, value string) string {
	for _, suffix := range []string{"Timeout", "Delay", "Deadline", "Interval", "Time", "Stagger", "LostAfter", "StopOnClientAfter"} {
		if d, err := time.ParseDuration(value + "ns"); err == nil && strings.HasSuffix(name, suffix) {
			return d.String()
		}
	}
	return value
}

// snake writes a name of Nomad's API as job specs do: KillTimeout is
// kill_timeout. Keys in brackets stay as they are.
func snake(name string) string {
	name, key, bracket := strings.Cut(name, "[")
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case r == ' ':
			r = '_'
		case unicode.IsUpper(r):
			afterLower := i > 0 && unicode.IsLower(runes[i-1])
			beforeLower := i > 0 && i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1])
			if afterLower || beforeLower {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	if bracket {
		b.WriteString("[" + key)
	}
	return b.String()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
