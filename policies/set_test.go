package policies

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func routed(name string, r Route) *Policy {
	p := New(name)
	p.Job, p.Route = "job-"+name, r
	return p
}

func TestTwoPoliciesMayNotTakeTheSameRequests(t *testing.T) {
	for name, test := range map[string]struct {
		a, b Route
		want string
	}{
		"one prefix":            {Route{PathPrefixes: []string{"/x", "/a"}}, Route{PathPrefixes: []string{"/a"}}, `policy "b": route.path_prefixes: "/a" is routed by policy "a" already; allowed: what no other policy routes`},
		"one model":             {Route{Models: []string{"m"}}, Route{Models: []string{"m"}}, `policy "b": route.models: "m" is routed by policy "a" already; allowed: what no other policy routes`},
		"one host":              {Route{Hosts: []string{"h"}}, Route{Hosts: []string{"h"}}, `policy "b": route.hosts: host "h" is routed by policy "a" already; allowed: what no other policy routes`},
		"one prefix at a host":  {Route{Hosts: []string{"h", "i"}, PathPrefixes: []string{"/a"}}, Route{Hosts: []string{"i"}, PathPrefixes: []string{"/a"}}, `policy "b": route.path_prefixes: "/a" at host "i" is routed by policy "a" already; allowed: what no other policy routes`},
		"a longer prefix":       {Route{PathPrefixes: []string{"/a"}}, Route{PathPrefixes: []string{"/a/b"}}, ""},
		"another host":          {Route{Hosts: []string{"h"}, PathPrefixes: []string{"/a"}}, Route{Hosts: []string{"i"}, PathPrefixes: []string{"/a"}}, ""},
		"a host and any host":   {Route{Hosts: []string{"h"}, Models: []string{"m"}}, Route{Models: []string{"m"}}, ""},
		"a prefix and a model":  {Route{PathPrefixes: []string{"/a"}}, Route{Models: []string{"/a"}}, ""},
		"a host and its prefix": {Route{Hosts: []string{"h"}}, Route{Hosts: []string{"h"}, PathPrefixes: []string{"/a"}}, ""},
	} {
		got := ""
		if err := CheckSet([]*Policy{routed("a", test.a), routed("b", test.b)}); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	err := CheckSet([]*Policy{routed("a", Route{Models: []string{"m"}}), routed("a", Route{Models: []string{"m"}})})
	if want := `policy "a": name: "a" names a second policy; allowed: another name`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTwoPoliciesMayNotRunTheSameJobGroup(t *testing.T) {
	for name, test := range map[string]struct {
		a, b string // namespace/job/group
		want string
	}{
		"one job":                      {"default/stub/", "default/stub/", `policy "b": job: "stub" in namespace "default" is run by policy "a" already; allowed: a job, or a group of it, that no other policy runs`},
		"one group":                    {"default/stub/server", "default/stub/server", `policy "b": job: group "server" of "stub" in namespace "default" is run by policy "a" already; allowed: a job, or a group of it, that no other policy runs`},
		"the only group, and its name": {"default/stub/", "default/stub/server", `policy "b": job: group "server" of "stub" in namespace "default" is run by policy "a" already; allowed: a job, or a group of it, that no other policy runs`},
		"a group, and the job's only":  {"default/stub/server", "default/stub/", `policy "b": job: "stub" in namespace "default" is run by policy "a" already; allowed: a job, or a group of it, that no other policy runs`},
		"two groups of one job":        {"default/stub/server", "default/stub/batch", ""},
		"one id in two namespaces":     {"default/stub/", "other/stub/", ""},
		"two jobs with a group alike":  {"default/stub/server", "default/twin/server", ""},
	} {
		of := func(policy, place string) *Policy {
			p := routed(policy, Route{Models: []string{policy}})
			parts := strings.Split(place, "/")
			p.Namespace, p.Job, p.Group = parts[0], parts[1], parts[2]
			return p
		}
		got := ""
		if err := CheckSet([]*Policy{of("a", test.a), of("b", test.b)}); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func TestAPolicyIsToldOnceOfOneThatRunsItsJob(t *testing.T) {
	var set []*Policy
	for _, group := range []string{"server", "batch", ""} {
		p := routed("p"+group, Route{Models: []string{"model-" + group}})
		p.Job, p.Group = "stub", group
		set = append(set, p)
	}
	var errs ValidationErrors
	if !errors.As(CheckSet(set), &errs) || len(errs) != 1 || errs[0].Policy != "p" || errs[0].Field != "job" {
		t.Errorf("the errors are %v, want one, of p about its job", errs)
	}
}

func TestADraftAnswersForItselfOnly(t *testing.T) {
	twin := routed("a", Route{Models: []string{"m"}})
	other := routed("b", Route{Models: []string{"m"}}) // stored before a version that refuses it
	draft := strings.Replace(policyText(""), "translate", "c", 1)
	p := parseString(t, []byte(draft))
	if err := CheckDraft(p, draft, []*Policy{other, twin, p}); err != nil {
		t.Errorf("what others have against each other is the draft's error: %v", err)
	}
	twin.Job = p.Job
	err := CheckDraft(p, draft, []*Policy{p, other, twin})
	if want := `line 2: job: "translate-apertium" in namespace "default" is run by policy "a" already; allowed: a job, or a group of it, that no other policy runs`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestWarningsAreWhatIsAllowedButProbablyNotMeant(t *testing.T) {
	with := func(edit func(p *Policy)) *Policy {
		p := routed("a", Route{Models: []string{"m"}})
		edit(p)
		return p
	}
	after := func(d time.Duration) *Policy {
		return with(func(p *Policy) { p.ToZero.Mode, p.ToZero.After = "after", d })
	}
	for name, test := range map[string]struct {
		policy    *Policy
		coldStart time.Duration
		want      string
	}{
		"defaults":                  {after(time.Minute), 0, ""},
		"keep-alive as long":        {after(time.Minute), time.Minute, ""},
		"keep-alive shorter":        {after(time.Minute), 90 * time.Second, "to_zero.after"},
		"cold start unknown":        {after(time.Second), 0, ""},
		"never at zero":             {with(func(p *Policy) { p.Replicas.Min = 1; p.ToZero.Mode = "after" }), time.Minute, ""},
		"kept for ever":             {with(func(p *Policy) { p.ToZero.Mode = "never" }), time.Hour, ""},
		"auto, bounded below":       {with(func(p *Policy) { p.ToZero.AtMost = time.Minute }), 2 * time.Minute, "to_zero.at_most"},
		"thresholds, none":          {with(func(p *Policy) { p.Sizing.Mode = "thresholds"; p.Replicas.Max = 2 }), 0, "sizing.mode"},
		"thresholds, one replica":   {with(func(p *Policy) { p.Sizing.Mode = "thresholds" }), 0, ""},
		"a share as a percentage":   {with(func(p *Policy) { p.ScaleUp.GPUUtilization = new(0.85) }), 0, "scale_up.gpu_utilization"},
		"a small percentage":        {with(func(p *Policy) { p.ScaleDown.GPUUtilization = new(1.5) }), 0, ""},
		"a time without a pin":      {with(func(p *Policy) { p.ByHand = ByHand{Count: "adopt", For: time.Minute} }), 0, "by_hand.for"},
		"a time for a pin":          {with(func(p *Policy) { p.ByHand.For = time.Minute }), 0, ""},
		"adopted for good":          {with(func(p *Policy) { p.ByHand.Count = "adopt" }), 0, ""},
		"a body that is never held": {with(func(p *Policy) { p.Hold.MaxBytes = 1 << 20 }), 0, "hold.max_body"},
	} {
		var got []string
		for _, w := range Warnings(test.policy, test.coldStart) {
			got = append(got, w.Field)
		}
		if strings.Join(got, ",") != test.want {
			t.Errorf("%s: warnings are about %q, want %q", name, got, test.want)
		}
		if err := test.policy.Validate(); err != nil && name != "never at zero" {
			t.Errorf("%s: a warning was wanted, not an error: %v", name, err)
		}
	}
	got := Warnings(after(time.Minute), 95*time.Second+400*time.Microsecond)[0].Error()
	want := `policy "a": to_zero.after: "1m" is shorter than a cold start (1m35s): a pause costs callers more waiting than it saves GPU time; allowed: at least "1m35s"`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAPolicyMadeByHandIsJudgedLikeOneThatWasWritten(t *testing.T) {
	num := func(f float64) *float64 { return &f }
	for want, edit := range map[string]func(p *Policy){
		"":                          func(*Policy) {},
		"name":                      func(p *Policy) { p.Name = "A" },
		"job":                       func(p *Policy) { p.Job = "" },
		"route":                     func(p *Policy) { p.Route = Route{} },
		"namespace":                 func(p *Policy) { p.Namespace = "" },
		"replicas.min":              func(p *Policy) { p.Replicas.Min = 2 },
		"replicas.max":              func(p *Policy) { p.Replicas.Max = 0 },
		"scale_up.cooldown":         func(p *Policy) { p.ScaleUp.CooldownAuto, p.ScaleUp.Cooldown = false, -1 },
		"to_zero.after":             func(p *Policy) { p.ToZero.Mode = "soon" },
		"hold.heartbeat":            func(p *Policy) { p.Hold.Heartbeat = time.Millisecond },
		`schedule "a".zone`:         func(p *Policy) { p.Schedules = []Schedule{{Name: "a", Cron: "0 8 * * *", For: time.Hour, Min: 1}} },
		`metric "a".source`:         func(p *Policy) { p.Metrics = []Metric{{Name: "a", Query: "x", Up: num(1)}} },
		"gpu.source":                func(p *Policy) { p.GPU.Source = "dcgm" },
		"gpu.query":                 func(p *Policy) { p.GPU.Source = "prometheus" },
		"gpu.port":                  func(p *Policy) { p.GPU.Port = 9400 },
		"by_hand.count":             func(p *Policy) { p.ByHand.Count = "" },
		"by_hand.for":               func(p *Policy) { p.ByHand.For = 0 },
		"scale_down.qps":            func(p *Policy) { p.ScaleUp.QPS, p.ScaleDown.QPS = num(1), num(2) },
		"sizing.target_utilization": func(p *Policy) { p.Sizing.Headroom, p.Sizing.TargetUtilization = 1, num(0.5) },
	} {
		p := routed("a", Route{Models: []string{"m"}})
		edit(p)
		var errs ValidationErrors
		var got []string
		if err := p.Validate(); errors.As(err, &errs) {
			for _, e := range errs {
				got = append(got, e.Field)
			}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("errors are about %q, want %q", got, want)
		}
	}
}

func TestDiffNamesFieldsAndValuesAsTheyAreWritten(t *testing.T) {
	a := parseString(t, []byte(policyText("replicas { max = 3 }\nscale_up { qps = 5 }")))
	b := parseString(t, []byte(policyText("translate { backend = \"apertium\" }\nsizing { target_utilization = 0.7 }\nto_zero { after = \"90s\" }")))
	b.Route.PathPrefixes = []string{"/translate", "/t"}
	want := []Change{
		{"route.path_prefixes", `["/translate"]`, `["/translate", "/t"]`},
		{"translate.backend", "", `"apertium"`},
		{"translate.model", "", `""`},
		{"replicas.max", "3", "1"},
		{"sizing.headroom", "0.5", ""},
		{"sizing.target_utilization", "", "0.7"},
		{"scale_up.qps", "5", ""},
		{"to_zero.after", `"auto"`, `"1m30s"`},
	}
	if diff := cmp.Diff(want, Diff(a, b)); diff != "" {
		t.Error(diff)
	}
	created := []Change{
		{"name", "", `"translate"`}, {"job", `""`, `"translate-apertium"`}, {"route.path_prefixes", "[]", `["/translate"]`},
		{"replicas.max", "1", "3"}, {"scale_up.qps", "", "5"},
	}
	if diff := cmp.Diff(created, Diff(nil, a)); diff != "" {
		t.Error(diff)
	}
}

// directory writes files into a new directory.
func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestADirectoryIsReadByNameWithItsComments(t *testing.T) {
	one := "# about a\n" + strings.Replace(policyText(""), "translate", "a", 1) + "# the end of a\n"
	first := "# the file\n\n# about c\n" + strings.Replace(policyText(""), "translate", "c", 1)
	second := "\n# about b\n" + strings.Replace(policyText(""), "translate", "b", 1) + "\n# the end\n"
	dir := directory(t, map[string]string{
		"a.hcl": one, "two.hcl": first + second, "notes.txt": "x", ".hidden.hcl": "x = 1",
	})
	if err := os.Mkdir(filepath.Join(dir, "more.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names, texts []string
	for _, f := range files {
		for i, p := range f.Policies {
			names = append(names, filepath.Base(f.Path)+":"+p.Name)
			texts = append(texts, f.Sources[i])
			if again := parseString(t, []byte(f.Sources[i])); !cmp.Equal(p, again) {
				t.Errorf("the text of %s is another policy", p.Name)
			}
		}
	}
	if diff := cmp.Diff([]string{"a.hcl:a", "two.hcl:c", "two.hcl:b"}, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{one, first, second}, texts); diff != "" {
		t.Error(diff)
	}

	single, err := LoadDir(filepath.Join(dir, "a.hcl"))
	if err != nil || len(single) != 1 || single[0].Policies[0].Name != "a" {
		t.Errorf("a single file was read as %v, %v", single, err)
	}
}

func TestErrorsOfADirectoryNameEveryFile(t *testing.T) {
	dir := directory(t, map[string]string{
		"a.hcl": policyText("replicas { max = 0 }"), "b.hcl": "policy {", "c.hcl": policyText(""),
	})
	files, err := LoadDir(dir)
	var errs ValidationErrors
	if !errors.As(err, &errs) {
		t.Fatalf("the error is %T %v", err, err)
	}
	seen := map[string]bool{}
	for _, e := range errs {
		seen[filepath.Base(e.File)] = true
	}
	if diff := cmp.Diff(map[string]bool{"a.hcl": true, "b.hcl": true}, seen); diff != "" {
		t.Error(diff)
	}
	if len(files) != 1 || filepath.Base(files[0].Path) != "c.hcl" {
		t.Errorf("the file that is right is not among %v", files)
	}

	if _, err := LoadDir(t.TempDir()); !errors.Is(err, ErrNoFiles) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := LoadDir(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestErrorsOfASetAreLocatedInTheirFiles(t *testing.T) {
	dir := directory(t, map[string]string{
		"a.hcl": strings.Replace(policyText(""), "translate", "a", 1),
		"b.hcl": "\n\n" + strings.Replace(policyText(""), "translate", "b", 1),
	})
	files, err := LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files[0].Policies[0].Job = "another" // so that they clash in one thing
	var errs ValidationErrors
	if !errors.As(CheckSet([]*Policy{files[0].Policies[0], files[1].Policies[0]}), &errs) {
		t.Fatal("two policies route the same")
	}
	want := filepath.Join(dir, "b.hcl") + `:5: route.path_prefixes: "/translate" is routed by policy "a" already; allowed: what no other policy routes`
	if got := Locate(files, errs)[0].Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	warning := Locate(files, []FieldError{{Policy: "b", Field: "to_zero.after", Message: "m"}})[0]
	if warning.Line != 3 {
		t.Errorf("a field that is not written is located in line %d, want 3, that of its policy", warning.Line)
	}
}
