package nomad

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxWords bounds what is shown of one text that a task or a driver wrote, in bytes.
const maxWords = 1024

// escapes are the sequences by which a program colours a terminal.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\-_])")

// clean makes one line of valid text of at most limit bytes out of what somebody
// else's program wrote: control characters and terminal escapes are gone.
func clean(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = escapes.ReplaceAllString(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	const more = "…"
	if len(s) <= limit {
		return s
	}
	cut := limit - len(more)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
