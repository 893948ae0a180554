package policies

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestJSONGivesBackWhatItWasMadeOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPolicy().Draw(t, "policy")
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again := New("something else")
		if err := json.Unmarshal(text, again); err != nil {
			t.Fatalf("%v\nin\n%s", err, text)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatalf("%s\nin\n%s", diff, text)
		}
	})
}

func TestJSONHasTheNamesOfHCLAndItsUnits(t *testing.T) {
	p := parseString(t, []byte(policyText(`
  hold { max_body = "5MiB" }
  scale_up { demand = 50 }
  to_zero { after = "90s" }
  cost { usd_per_hour = 2.50 }`)))
	got, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "name": "translate",
  "description": "",
  "job": "translate-apertium",
  "group": "",
  "namespace": "default",
  "regions": [],
  "gpu_priority": 50,
  "route": {
    "hosts": [],
    "path_prefixes": [
      "/translate"
    ],
    "models": [],
    "strip_prefix": false
  },
  "probe": {
    "path": "",
    "timeout": "2s",
    "max": "15m"
  },
  "replicas": {
    "min": 0,
    "max": 1,
    "concurrency": 8
  },
  "hold": {
    "max_requests": 1000,
    "max_bytes": "256MiB",
    "max_body": "5MiB",
    "max_wait": "10m",
    "async_max_wait": "24h",
    "heartbeat": "10s"
  },
  "request": {
    "timeout": "10m",
    "first_byte": "5m",
    "idle": "1m"
  },
  "retry": {
    "attempts": 3
  },
  "result": {
    "keep": "24h",
    "max_size": "8MiB",
    "max_bytes": "1GiB"
  },
  "sizing": {
    "mode": "auto",
    "headroom": 0.5,
    "patience": 2,
    "every": "1s",
    "sample": "1s"
  },
  "scale_up": {
    "window": "1m",
    "cooldown": "auto",
    "max_step": 0,
    "demand": 50
  },
  "scale_down": {
    "window": "2m",
    "cooldown": "0s",
    "max_step": 0,
    "drain_timeout": "5m"
  },
  "to_zero": {
    "after": "1m30s",
    "at_least": "30s",
    "at_most": "30m",
    "prewarm": true
  },
  "gpu": {
    "source": "nomad",
    "query": "",
    "port": 0
  },
  "by_hand": {
    "count": "pin",
    "for": "1h"
  },
  "cost": {
    "gpu": "",
    "usd_per_hour": 2.5
  }
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestAWrongJSONDocumentNamesEveryFieldAndItsLine(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{
			"{\"name\": \"a\", \"job\": \"j\",\n\"replicas\": {\"max\": \"3\", \"mni\": 1},\n\"scale_up\": {\"window\": [1, [2], {\"x\": 3}]},\n" +
				"\"weight\": 2, \"route\": {\"models\": [\"m\"]}, \"colour\": {\"r\": [1]},\n\"schedule\": [{\"min\": 2}]}",
			[]string{
				`line 2: replicas.mni: is unknown, did you mean "min"?; allowed: "min", "max", "concurrency"`,
				`line 2: replicas.max: "3" is not a whole number; allowed: a whole number from 1 to 1000`,
				`line 3: scale_up.window: a list is not a duration; allowed: a Go duration of at least 1s, at most 24h, such as "1m"`,
				`line 4: colour: is unknown; allowed: ` + quoted(blockNames()),
				`line 4: weight: not supported yet; allowed: 1`,
				`line 5: schedule: is a block, not a value; allowed: schedule "name" { … }`,
			},
		},
		{`{"name": "a", "job": "j", "job": "k", "route": {"models": ["m"]}, "route": {}}`, []string{
			`line 1: job: is set twice; allowed: once`,
			`line 1: route: is written twice, first in line 1; allowed: one route block`,
		}},
		{`{"name": "a", "job": {"x": 1}, "route": ["/x"], "probe": null}`, []string{
			`line 1: job: is a value, not a block; allowed: a name without spaces, at most 128 characters`,
			`line 1: route: is a block, not a value; allowed: route { … }`,
			`line 1: job: is required; allowed: the id of a Nomad job`,
			`line 1: route: routes nothing; allowed: at least one of hosts, path_prefixes and models`,
		}},
		{`{"name": 5, "job": "j", "route": {"models": [{}]}}`, []string{
			`line 1: name: 5 is not text; allowed: ` + policyName,
			`line 1: route.models: a block is not text; allowed: a name without spaces, at most 256 characters`,
		}},
		{`[]`, []string{`line 1: is not an object; allowed: a JSON object`}},
		{`{"name": "a"`, []string{`line 1: the document ends too early; allowed: a JSON object`}},
	} {
		p, err := ParseJSON("", []byte(test.text))
		if p != nil || err == nil {
			t.Errorf("%s: accepted", test.text)
			continue
		}
		if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("%s:\n%s", test.text, diff)
		}
	}
}

func TestTextIsTheSameHoweverItsAccentsAreEncoded(t *testing.T) {
	fromJSON, err := ParseJSON("", []byte(`{"name": "translate", "job": "translate-apertium", "route": {"path_prefixes": ["/translate"]}, "description": "e\u0301"}`))
	if err != nil {
		t.Fatal(err)
	}
	fromHCL := parseString(t, []byte(policyText(`description = "e\u0301"`)))
	if diff := cmp.Diff(fromHCL, fromJSON); diff != "" || fromHCL.Description != "\u00e9" {
		t.Errorf("%q, %s", fromHCL.Description, diff)
	}
}

func TestUnmarshallingAWrongDocumentChangesNothing(t *testing.T) {
	p := New("kept")
	err := json.Unmarshal([]byte(`{"name": "other", "replicas": {"max": 0}}`), p)
	var errs ValidationErrors
	if !errors.As(err, &errs) {
		t.Fatalf("the error is %T %v", err, err)
	}
	if diff := cmp.Diff(New("kept"), p); diff != "" {
		t.Error(diff)
	}
}
