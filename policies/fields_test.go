package policies

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// leaves calls visit for each value in a policy that a field could be for, with
// its path in Go.
func leaves(v reflect.Value, path string, visit func(path string, leaf reflect.Value)) {
	for i := range v.NumField() {
		f := v.Field(i)
		name := path + v.Type().Field(i).Name
		if f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct {
			leaves(f, name+".", visit)
		} else {
			visit(name, f)
		}
	}
}

// fieldPath is the path in HCL of a value in a policy.
func fieldPath(goPath string) string {
	switch goPath {
	case "ToZero.Mode":
		return "to_zero.after"
	case "ScaleUp.CooldownAuto":
		return "scale_up.cooldown"
	}
	s := strings.NewReplacer("GPUPriority", "GpuPriority", "GPUUtilization", "GpuUtilization", "QPS", "Qps", "USDPerHour", "UsdPerHour", "GPU", "Gpu", "ToZero", "To_zero").Replace(goPath)
	return strings.ToLower(regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(s, "${1}_$2"))
}

// noField has the places in a policy that no field of the table is for: entries,
// which have their own (see entries_test.go), and those of Thresholds that mean something in one direction only.
var noField = []string{"Name", "Schedules", "Metrics", "ScaleUp.DrainTimeout", "ScaleDown.CooldownAuto"}

func TestEachPlaceInAPolicyHasTheFieldOfItsName(t *testing.T) {
	reached := map[string]bool{}
	leaves(reflect.ValueOf(full("x")).Elem(), "", func(goPath string, _ reflect.Value) {
		p := full("x")
		// So that every other value counts, too.
		p.ScaleUp.CooldownAuto = false
		p.ToZero.Mode = "after"
		before := values(p)
		leaves(reflect.ValueOf(p).Elem(), "", func(path string, leaf reflect.Value) {
			if path == goPath {
				change(leaf)
			}
		})
		var changed []string
		for path, v := range values(p) {
			if path == "sizing.headroom" && goPath == "Sizing.TargetUtilization" {
				continue // which stands in its place
			}
			if !reflect.DeepEqual(v, before[path]) {
				changed = append(changed, path)
				reached[path] = true
			}
		}
		want := []string{fieldPath(goPath)}
		if slices.Contains(noField, goPath) {
			want = nil
		}
		if !slices.Equal(changed, want) {
			t.Errorf("a change of %s is a change of %v, want %v", goPath, changed, want)
		}
	})
	for _, f := range fields {
		if f.get != nil && !reached[f.path] {
			t.Errorf("%s is nowhere in a policy", f.path)
		}
	}
}

func values(p *Policy) map[string]any {
	all := map[string]any{}
	for _, f := range fields {
		if f.get != nil {
			all[f.path] = f.get(p)
		}
	}
	return all
}

// change gives a leaf a value that it has not.
func change(leaf reflect.Value) {
	switch leaf.Kind() {
	case reflect.String:
		leaf.SetString(leaf.String() + "x")
	case reflect.Bool:
		leaf.SetBool(!leaf.Bool())
	case reflect.Int, reflect.Int64:
		leaf.SetInt(leaf.Int() + 12345)
	case reflect.Float64:
		leaf.SetFloat(leaf.Float() + 1)
	case reflect.Pointer:
		leaf.Set(reflect.New(leaf.Type().Elem()))
	case reflect.Slice:
		leaf.Set(reflect.MakeSlice(leaf.Type(), 1, 1))
	default:
		panic(leaf.Kind())
	}
}

func TestSetAndGetOfAFieldAreAboutTheSamePlace(t *testing.T) {
	for _, f := range fields {
		if f.set == nil {
			continue
		}
		p := full("x")
		var value any
		switch s := f.shape.(type) {
		case text:
			value = "x"
		case choice:
			value = s[len(s)-1]
		case list:
			value = []string{"x"}
		case flag:
			value = true
		case count:
			value = s.max
		case number:
			value = s.max
		case duration:
			value = s.max
		case wordOr:
			value = wait{length: 7 * time.Second}
		case size:
			value = s.max
		}
		before := values(p)
		f.set(p, value)
		for path, v := range values(p) {
			if path == f.path {
				if !reflect.DeepEqual(v, value) {
					t.Errorf("%s was set to %v and is %v", path, value, v)
				}
			} else if !reflect.DeepEqual(v, before[path]) && !(f.path == "sizing.target_utilization" && path == "sizing.headroom") {
				t.Errorf("setting %s changes %s", f.path, path)
			}
		}
	}
}

func TestEveryDefaultIsAllowed(t *testing.T) {
	p := full("x")
	for _, f := range fields {
		if f.get == nil || f.get(p) == nil || f.path == "job" {
			continue
		}
		if problem := f.shape.check(f.get(p)); problem != "" {
			t.Errorf("the default of %s: %s", f.path, problem)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	docs := Fields()
	byPath := map[string]FieldDoc{}
	for _, d := range docs {
		if d.Type == "" || d.Meaning == "" || d.Type != "block" && d.Allowed == "" {
			t.Errorf("%s is documented by halves: %+v", d.Path, d)
		}
		byPath[d.Path] = d
	}
	for _, f := range fields {
		if _, ok := byPath[f.path]; !ok {
			t.Errorf("%s is not documented", f.path)
		}
		if _, number := f.shape.(number); number && f.get != nil && f.unit == "" {
			t.Errorf("%s is a number without a unit", f.path)
		}
	}
	if want := len(fields) + 2 + 8; len(docs) != want || len(byPath) != want {
		t.Errorf("%d fields are documented, want %d: every field, and the blocks schedule and metric with four each", len(byPath), want)
	}
	for path, want := range map[string]FieldDoc{
		"scale_up.window":   {Type: "duration", Default: `"1m"`, Allowed: `a Go duration of at least 1s, at most 24h, such as "1m"`, Supported: true},
		"scale_up.qps":      {Type: "number", Unit: "arrivals per second per ready replica", Allowed: "a number above 0, at most 1000000", Supported: true},
		"gpu_priority":      {Type: "whole number", Default: "50", Allowed: "in this version 50", Supported: true},
		"hold.heartbeat":    {Type: "duration", Default: `"10s"`, Allowed: `a Go duration of at least 1s, at most 1h, such as "10s"`, Supported: true},
		"to_zero.after":     {Type: "duration or word", Default: `"auto"`, Allowed: `"auto", "never", or a Go duration of at least 100ms, at most 168h, such as "1m"`, Supported: true},
		"replicas.max":      {Type: "whole number", Unit: "replicas", Default: "1", Allowed: "a whole number from 1 to 1000", Supported: true},
		"schedule":          {Type: "block", Supported: true},
		"schedule.zone":     {Type: "text", Default: `"UTC"`, Allowed: zoneName.want, Supported: true},
		"metric.up":         {Type: "number", Unit: "of the metric", Allowed: metricLimit.allowed(), Supported: true},
		"route.models":      {Type: "list of text", Default: "[]", Allowed: "a name without spaces, at most 256 characters", Supported: true},
		"translate.backend": {Type: "one of", Default: `"passthrough"`, Allowed: `"passthrough", "completions", "apertium"`, Supported: true},
	} {
		got := byPath[path]
		want.Path, want.Meaning = path, got.Meaning
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestTheDefaultsAreTheDocumentedOnes(t *testing.T) {
	want := map[string]string{
		"namespace": `"default"`, "gpu_priority": "50", "route.strip_prefix": "false",
		"translate.backend": `"passthrough"`, "probe.timeout": `"2s"`, "probe.max": `"15m"`,
		"replicas.min": "0", "replicas.max": "1", "replicas.concurrency": "8",
		"hold.max_requests": "1000", "hold.max_bytes": `"256MiB"`, "hold.max_body": `"10MiB"`, "hold.max_wait": `"10m"`, "hold.heartbeat": `"10s"`,
		"request.timeout": `"10m"`, "request.first_byte": `"5m"`, "request.idle": `"1m"`,
		"retry.attempts": "3", "retry.repeat": "", "result.keep": `"24h"`, "result.max_size": `"8MiB"`, "result.max_bytes": `"1GiB"`,
		"sizing.mode": `"auto"`, "sizing.headroom": "0.5", "sizing.target_utilization": "", "sizing.patience": "2", "sizing.every": `"1s"`, "sizing.sample": `"1s"`,
		"sizing.drain_within": "",
		"schedule.zone":       `"UTC"`, "schedule.cron": `""`, "metric.source": `"metrics"`, "metric.up": "",
		"scale_up.window": `"1m"`, "scale_up.cooldown": `"auto"`, "scale_up.max_step": "0",
		"scale_down.window": `"2m"`, "scale_down.cooldown": `"0s"`, "scale_down.max_step": "0", "scale_down.drain_timeout": `"5m"`,
		"to_zero.after": `"auto"`, "to_zero.at_least": `"30s"`, "to_zero.at_most": `"30m"`, "to_zero.prewarm": "true",
		"gpu.source": `"nomad"`, "cost.usd_per_hour": "",
	}
	for _, d := range Fields() {
		if w, ok := want[d.Path]; ok && d.Default != w {
			t.Errorf("the default of %s is %s, want %s", d.Path, d.Default, w)
		}
		delete(want, d.Path)
		if (strings.HasPrefix(d.Path, "scale_up.") || strings.HasPrefix(d.Path, "scale_down.")) && d.Default != "" {
			if _, name, _ := strings.Cut(d.Path, "."); isThreshold(name) {
				t.Errorf("%s has a default, %s", d.Path, d.Default)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not documented: %v", want)
	}
}
