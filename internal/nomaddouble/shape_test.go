package nomaddouble

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// free are objects whose keys are names that the story gives, not fields.
var free = []string{"TaskStates", "Tasks", "TaskGroups", "Summary", "InstanceStats", "TaskResources", "TaskLifecycles",
	"FailedTGAllocs", "DesiredTGUpdates", "QueuedAllocations", "Pids", "ConstraintFiltered", "DimensionExhausted", "ClassFiltered",
	"ClassExhausted", "NodesAvailable", "ResourcesExhausted", "ClassEligibility", "Config", "Meta", "Env"}

// telling are fields whose texts must be those of the recording, not only texts.
var telling = []string{"Status", "StatusDescription", "TriggeredBy", "DesiredStatus", "DesiredDescription", "ClientStatus",
	"ClientDescription", "Type", "Topic", "DisplayMessage", "State", "SchedulingEligibility", "Name", "Desc", "Unit", "StringVal", "Body",
	"restart_reason", "exit_code", "signal", "oom_killed", "kill_timeout"}

// shape lists what there is in a document: path, kind, and the text of fields
// that tell something. The elements of a list are taken together.
func shape(v any) map[string]bool {
	all := make(map[string]bool)
	shapeInto(all, "", "", v)
	return all
}

func shapeInto(all map[string]bool, path, key string, v any) {
	switch v := v.(type) {
	case nil:
		all[path+" null"] = true
	case bool:
		all[path+" bool"] = true
	case float64:
		all[path+" number"] = true
	case string:
		if slices.Contains(telling, key) {
			all[fmt.Sprintf("%s = %q", path, v)] = true
		} else {
			all[path+" text"] = true
		}
	case []any:
		if len(v) == 0 {
			all[path+" []"] = true
		}
		for _, e := range v {
			if _, object := e.(map[string]any); object {
				shapeInto(all, path+"[]", "", e) // its keys are fields
				continue
			}
			shapeInto(all, path+"[]", key, e)
		}
	case map[string]any:
		if len(v) == 0 {
			all[path+" {}"] = true
		}
		for k, e := range v {
			under := path + "." + k
			if slices.Contains(free, key) {
				under = path + ".*"
			}
			shapeInto(all, under, k, e)
		}
	}
}

// differ lists what the double's answer has and the recording has not (+), and
// the other way round (-). ignore are beginnings of paths that the story cannot
// make alike, each with its reason where it is given.
func differ(recorded, double any, ignore ...string) []string {
	want, got := shape(recorded), shape(double)
	var all []string
	for _, side := range []struct {
		sign   string
		has    map[string]bool
		hasNot map[string]bool
	}{{"-", want, got}, {"+", got, want}} {
		for _, line := range slices.Sorted(maps.Keys(side.has)) {
			if !side.hasNot[line] && !slices.ContainsFunc(ignore, func(p string) bool { return strings.HasPrefix(line, p) }) {
				all = append(all, side.sign+line)
			}
		}
	}
	return all
}

func compareShape(t *testing.T, what string, recorded, double any, ignore ...string) {
	t.Helper()
	if lines := differ(recorded, double, ignore...); len(lines) > 0 {
		t.Errorf("%s is not as recorded (-recorded +double):\n%s", what, strings.Join(lines, "\n"))
	}
}

// recording reads one file of testdata.
func recording(t *testing.T, name string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(recordedText(t, name), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func recordedText(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAShapeTellsWhatDiffers(t *testing.T) {
	read := func(text string) (v any) {
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	recorded := `{"ID":"a","Status":"running","Events":[{"N":1}],"Gone":null,"Tasks":{"engine":{"X":1}}}`
	for double, want := range map[string]int{
		`{"ID":"b","Status":"running","Events":[{"N":7}],"Gone":null,"Tasks":{"model":{"X":3}}}`:           0,
		`{"id":"b","Status":"running","Events":[{"N":7}],"Gone":null,"Tasks":{"model":{"X":3}}}`:           2, // another key
		`{"ID":"b","Status":"dead","Events":[{"N":7}],"Gone":null,"Tasks":{"model":{"X":3}}}`:              2, // another word
		`{"ID":"b","Status":"running","Events":[{"N":7}],"Gone":"","Tasks":{"model":{"X":3}}}`:             2, // "" for null
		`{"ID":"b","Status":"running","Events":[{"N":7}],"Gone":null,"Tasks":{"model":{"X":3}},"More":[]}`: 1,
		`{"ID":"b","Status":"running","Events":[],"Gone":null,"Tasks":{"model":{"X":"3"}}}`:                4,
	} {
		if lines := differ(read(recorded), read(double)); len(lines) != want {
			t.Errorf("%s: got %d differences, want %d: %q", double, len(lines), want, lines)
		}
	}
}
