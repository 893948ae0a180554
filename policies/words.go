package policies

import (
	"strings"
	"unicode"
)

// Texts that mean something to others, and what they may look like.
var (
	hostName   = text{limit: 253, ok: isHost, want: `a host name in lower case without port, such as "translate.example.org"`}
	pathPrefix = text{limit: 200, ok: isPathPrefix, want: `a path without a "/" at its end, such as "/translate"`}
	modelName  = text{limit: 256, ok: isWord, want: "a name without spaces, at most 256 characters"}
	probePath  = text{limit: 500, ok: isProbePath, want: `a path, such as "/health"`}
)

// policyName is the name of a policy: it becomes part of Redis keys, of URLs and
// of metric labels.
const policyName = `lower-case letters, digits and "-", from 1 to 63 characters`

func isPolicyName(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && only(s, func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-'
	})
}

func only(s string, ok func(rune) bool) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}

// isWord accepts any visible text without spaces.
func isWord(s string) bool {
	return s != "" && only(s, func(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) })
}

func isNamespace(s string) bool {
	return s != "" && only(s, func(r rune) bool { return r < 0x80 && (r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r)) })
}

func isHost(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		if !only(label, func(r rune) bool {
			return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_'
		}) {
			return false
		}
	}
	return true
}

// isPathPrefix accepts "/" and whole segments: what a prefix is compared with
// is the decoded path, so it has no escapes, and no dot segments.
func isPathPrefix(s string) bool {
	if s == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return only(rest, func(r rune) bool { return isWord(string(r)) && !strings.ContainsRune(`?#%\`, r) })
}

func isProbePath(s string) bool {
	return s == "" || strings.HasPrefix(s, "/") && isWord(s) && !strings.Contains(s, "#")
}

// reserved are the first segments that Pilotlight answers itself.
var reserved = []string{"/health", "/livez", "/readyz", "/pilotlight"}

// engineOnly are endpoints by which an engine is operated; they are never routed.
var engineOnly = []string{"/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/wake_up", "/is_sleeping", "/collective_rpc"}

// under reports whether path is prefix or lies below it, by whole segments.
func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
