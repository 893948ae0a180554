package policies

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestTheDefaultOfRepeatDependsOnThePathAndIsNotOneValue(t *testing.T) {
	docs := Fields()
	i := slices.IndexFunc(docs, func(d FieldDoc) bool { return d.Path == "retry.repeat" })
	if want := "Not named, it depends on each request's path: always on /translate and /v1, keyed elsewhere"; i < 0 || docs[i].Default != "" || !strings.HasSuffix(docs[i].Meaning, want) {
		t.Errorf("documented as %+v", docs[i])
	}
	for lines, want := range map[string]string{
		"":                             `"retry":{"attempts":3}`,
		`  retry { repeat = "keyed" }`: `"retry":{"attempts":3,"repeat":"keyed"}`,
	} {
		p := parseString(t, []byte(policyText(lines)))
		raw, err := json.Marshal(p)
		if err != nil || !strings.Contains(string(raw), want) {
			t.Errorf("%s (%v), want %s in it", raw, err, want)
		}
		if again, err := ParseJSON("", raw); err != nil || again.Retry != p.Retry {
			t.Errorf("read again it is %+v (%v), want %+v", again, err, p.Retry)
		}
	}
}
