package jobs

import "strings"

// Interpolate replaces every ${NAME} in s with env[NAME], as a Nomad client
// does when it starts a task. Nomad's index form ${env["NAME"]} is the same as
// ${NAME}. $${…} is an escape and becomes the text ${…}. A name that env does
// not know stays as it stands, and so does an unterminated ${: neither is an
// error to Nomad. Inserted values are not looked at again.
func Interpolate(s string, env map[string]string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		open := strings.Index(s, "${")
		if open < 0 {
			break
		}
		length := strings.IndexByte(s[open:], '}')
		if length < 0 {
			break
		}
		end := open + length + 1
		reference := s[open:end]
		if open > 0 && s[open-1] == '$' {
			b.WriteString(s[:open-1])
			b.WriteString(reference)
		} else {
			b.WriteString(s[:open])
			if value, known := env[referenceName(reference)]; known {
				b.WriteString(value)
			} else {
				b.WriteString(reference)
			}
		}
		s = s[end:]
	}
	b.WriteString(s)
	return b.String()
}

// referenceName returns NAME of ${NAME} and of ${env["NAME"]}.
func referenceName(reference string) string {
	name := strings.TrimSpace(reference[len("${") : len(reference)-len("}")])
	if quoted, ok := strings.CutPrefix(name, `env["`); ok {
		if inner, ok := strings.CutSuffix(quoted, `"]`); ok {
			return inner
		}
	}
	return name
}
