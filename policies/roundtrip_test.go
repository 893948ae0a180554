package policies

import (
	"bytes"
	stdcmp "cmp"
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
		drawEntries(t, p)
		resolve(p)
		return p
	})
}

// drawEntries adds blocks of the kinds that may be repeated.
func drawEntries(t *rapid.T, p *Policy) {
	for i := range blocks {
		b := &blocks[i]
		if b.entries == nil {
			continue
		}
		name := rapid.StringMatching(`[a-zA-Z0-9_-]([a-z 0-9]{0,5}[a-z])?`)
		for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID[string]).Draw(t, b.name) {
			b.entries.add(p, n)
			for _, f := range b.of(n) {
				if value := anyValue(f.shape).Draw(t, f.path); rapid.Bool().Draw(t, "set "+f.path) && f.shape.check(value) == "" {
					f.set(p, value)
				}
			}
		}
	}
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
	case clockText:
		return rapid.Map(rapid.SampledFrom([]string{"0 8 * * 1-5", "*/5 0-23/2 1,15 JAN-JUN ?", "0 0 29 2 *"}), func(s string) any { return s })
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
		case "gpu.query":
			p.GPU.Query = map[string]string{"metrics": "vllm:kv_cache_usage_perc", "prometheus": "avg(up)"}[p.GPU.Source]
		case "gpu.port":
			p.GPU.Port = 0
		default:
			if strings.Contains(path, `"`) { // of entries
				resolveEntries(p)
				continue
			}
			// hysteresis
			_, name := splitPath(path)
			drain, window := p.ScaleDown.DrainTimeout, p.ScaleDown.Window
			if isThreshold(name) {
				p.ScaleDown = Thresholds{Window: window, DrainTimeout: drain}
			}
		}
	}
}

func resolveEntries(p *Policy) {
	for i := range p.Schedules {
		s := &p.Schedules[i]
		s.Cron, s.For, s.Min = stdcmp.Or(s.Cron, "0 8 * * *"), stdcmp.Or(s.For, time.Hour), min(max(1, s.Min), p.Replicas.Max)
	}
	for i := range p.Metrics {
		m := &p.Metrics[i]
		m.Query = "vllm:num_requests_waiting"
		if m.Up == nil && m.Down == nil || m.Up != nil && m.Down != nil && !(*m.Down < *m.Up) {
			up := 8.0
			m.Up, m.Down = &up, nil
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
