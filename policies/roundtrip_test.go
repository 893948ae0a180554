package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyPolicy generates valid policies: each supported field may have any value
// that its shape accepts, and contradictions are then resolved.
func anyPolicy() *rapid.Generator[*Policy] {
	return rapid.Custom(func(t *rapid.T) *Policy {
		p := New(rapid.StringMatching(`[a-z0-9-]{1,63}`).Draw(t, "name"))
		for _, b := range blocks {
			if b.create != nil && rapid.Bool().Draw(t, b.name) {
				b.create(p)
			}
		}
		for i := range fields {
			f := &fields[i]
			if f.set == nil || blockIsAbsent(p, f) || f.path != "job" && !rapid.Bool().Draw(t, "set "+f.path) {
				continue
			}
			value := anyValue(f.shape).Draw(t, f.path)
			if f.shape.check(value) == "" && refusal(f.path, value) == nil {
				f.set(p, value)
			}
		}
		resolve(p)
		return p
	})
}

func blockIsAbsent(p *Policy, f *field) bool {
	name, _ := f.split()
	b := blockNamed(name)
	return b != nil && b.present != nil && !b.present(p)
}

func anyValue(s shape) *rapid.Generator[any] {
	switch s := s.(type) {
	case text:
		return rapid.Custom(func(t *rapid.T) any { return textLike(s).Draw(t, "text") })
	case choice:
		return rapid.Custom(func(t *rapid.T) any { return rapid.SampledFrom(s).Draw(t, "word") })
	case list:
		return rapid.Custom(func(t *rapid.T) any {
			return rapid.SliceOfNDistinct(textLike(s.of), 1, 3, rapid.ID[string]).Draw(t, "list")
		})
	case flag:
		return rapid.Custom(func(t *rapid.T) any { return rapid.Bool().Draw(t, "flag") })
	case count:
		return rapid.Custom(func(t *rapid.T) any { return rapid.IntRange(s.min, s.max).Draw(t, "count") })
	case number:
		return rapid.Custom(func(t *rapid.T) any { return rapid.Float64Range(s.min, s.max).Draw(t, "number") })
	case duration:
		return rapid.Custom(func(t *rapid.T) any {
			return time.Duration(rapid.Int64Range(int64(s.min), int64(s.max)).Draw(t, "duration"))
		})
	case wordOr:
		return rapid.Custom(func(t *rapid.T) any {
			if rapid.Bool().Draw(t, "as a word") {
				return wait{word: rapid.SampledFrom(s.words).Draw(t, "word")}
			}
			return wait{length: anyValue(s.or).Draw(t, "duration").(time.Duration)}
		})
	case size:
		return rapid.Custom(func(t *rapid.T) any { return rapid.Int64Range(s.min, s.max).Draw(t, "size") })
	default:
		panic("a shape that the generator does not know")
	}
}

// textLike are texts that try the quoting, most of which are accepted.
func textLike(s text) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		candidates := []*rapid.Generator[string]{
			rapid.StringMatching(`/[a-z]{1,5}(/[a-z.$%{}-]{1,5})?`),
			rapid.StringMatching(`[a-z]{1,9}([-.][a-z0-9]{1,5})?`),
			rapid.StringMatching(`([$%]{1,3}[{]|["\\\n\t}]|é|😀|[a-z ])*`),
			rapid.String(),
		}
		for range 20 {
			v, problem := s.read(candidates[rapid.IntRange(0, len(candidates)-1).Draw(t, "kind")].Draw(t, "text"))
			if problem == "" && s.check(v) == "" {
				return v.(string)
			}
		}
		return "/x" // refused as a host name; the caller leaves the field out then
	})
}

// resolve changes what the contradictions of a policy are about, until there is none.
func resolve(p *Policy) {
	if p.Sizing.TargetUtilization != nil {
		p.Sizing.Headroom = New("").Sizing.Headroom
	}
	if p.Job == "" {
		p.Job = "job"
	}
	for _, q := range contradictions(p) {
		switch path := q.fields[0]; path {
		case "route", "route.path_prefixes":
			p.Route = Route{Models: []string{"model"}}
		case "translate.model":
			p.Translate.Model = "model"
		case "probe.timeout":
			p.Probe.Timeout = p.Probe.Max
		case "replicas.min":
			p.Replicas.Min = p.Replicas.Max
		case "scale_up.window":
			p.ScaleUp.Window = max(p.Sizing.Sample, time.Second)
		case "scale_down.window":
			p.ScaleDown.Window = max(p.Sizing.Sample, time.Second)
		case "to_zero.at_least":
			p.ToZero.AtLeast = p.ToZero.AtMost
		case "gpu.source":
			p.GPU.Source = "metrics"
		default: // hysteresis
			_, name := splitPath(path)
			drain, window := p.ScaleDown.DrainTimeout, p.ScaleDown.Window
			if isThreshold(name) {
				p.ScaleDown = Thresholds{Window: window, DrainTimeout: drain}
			}
		}
	}
}

func parseString(t interface{ Fatalf(string, ...any) }, src []byte) *Policy {
	ps, err := Parse("", src)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, src)
	}
	if len(ps) != 1 {
		t.Fatalf("%d policies in\n%s", len(ps), src)
	}
	return ps[0]
}

func TestParseGivesBackWhatFormatWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPolicy().Draw(t, "policy")
		if err := p.Validate(); err != nil {
			t.Fatalf("the generator made a policy that is not valid: %v", err)
		}
		text := Format(p)
		again := parseString(t, text)
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatalf("%s\nin\n%s", diff, text)
		}
		if second := Format(again); !bytes.Equal(text, second) {
			t.Fatalf("formatted again:\n%s\nat first:\n%s", second, text)
		}
	})
}

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

func TestDiffIsEmptyOnlyForEqualPolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyPolicy().Draw(t, "a"), anyPolicy().Draw(t, "b")
		if changes := Diff(a, a); len(changes) != 0 {
			t.Fatalf("a policy differs from itself: %v", changes)
		}
		if equal := cmp.Equal(a, b); equal != (len(Diff(a, b)) == 0) {
			t.Fatalf("equal is %v, but the changes are %v", equal, Diff(a, b))
		}
		for _, c := range Diff(a, b) {
			if c.From == c.To {
				t.Fatalf("%s has not changed from %q", c.Field, c.From)
			}
		}
	})
}

func TestFormatWritesOnlyWhatDiffersFromTheDefaults(t *testing.T) {
	p := parseString(t, []byte(`
# a comment
policy "translate" {
  job = "translate-apertium"
  namespace = "default"
  route { path_prefixes = ["/translate"] }
  translate { backend = "passthrough" }
  replicas {
    max = 3
    min = 0
  }
  sizing { target_utilization = 0.7 }
  scale_up {
    qps      = 2.50
    cooldown = "60s"
  }
  to_zero { after = "never" }
}`))
	want := `policy "translate" {
  job = "translate-apertium"

  route {
    path_prefixes = ["/translate"]
  }

  translate {
  }

  replicas {
    max = 3
  }

  sizing {
    target_utilization = 0.7
  }

  scale_up {
    cooldown = "1m"
    qps      = 2.5
  }

  to_zero {
    after = "never"
  }
}
`
	if diff := cmp.Diff(want, string(Format(p))); diff != "" {
		t.Error(diff)
	}
	two, err := Parse("", FormatFile([]*Policy{p, {Name: "b", Job: "b"}}))
	if two != nil || err == nil || !strings.Contains(err.Error(), "routes nothing") {
		t.Errorf("the second of two formatted policies was not read: %v, %v", two, err)
	}
}

func TestAFormattedFileHoldsAllPoliciesInOrder(t *testing.T) {
	a, b := New("b"), New("a")
	for _, p := range []*Policy{a, b} {
		p.Job, p.Route.Models = "job", []string{p.Name}
	}
	got, err := Parse("", FormatFile([]*Policy{a, b}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Policy{a, b}, got); diff != "" {
		t.Error(diff)
	}
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
    "max_wait": "10m"
  },
  "request": {
    "timeout": "10m",
    "first_byte": "5m",
    "idle": "1m"
  },
  "retry": {
    "attempts": 3
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
    "prewarm": false
  },
  "gpu": {
    "source": "nomad",
    "query": ""
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
				`line 5: schedule: not supported yet; allowed: leave it out`,
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
