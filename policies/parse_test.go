package policies

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// policyText is a valid policy with more lines in it, which begin in line 4.
func policyText(lines string) string {
	return "policy \"translate\" {\n  job = \"translate-apertium\"\n  route { path_prefixes = [\"/translate\"] }\n" + lines + "\n}\n"
}

// problems parses text and returns its errors, one per line.
func problems(t *testing.T, text string) []string {
	t.Helper()
	parsed, err := Parse("translate.hcl", []byte(text))
	if err == nil {
		return nil
	}
	if parsed != nil {
		t.Errorf("policies were returned together with the error %v", err)
	}
	var errs ValidationErrors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("the error is %T %v, want ValidationErrors", err, err)
	}
	return strings.Split(err.Error(), "\n")
}

func TestEveryFieldOfADocumentIsRead(t *testing.T) {
	text := `
policy "all" {
  description  = "everything"
  job          = "job"
  group        = "group"
  namespace    = "prod"
  regions      = []
  gpu_priority = 50
  weight       = 1
  preempt      = false
  route {
    hosts         = ["a.example.org"]
    path_prefixes = ["/translate", "/"]
    models        = ["m/1"]
    strip_prefix  = true
  }
  translate {
    backend = "completions"
    model   = "google/m"
  }
  probe {
    path    = "/ready?full=1"
    timeout = "1s"
    max     = "1m"
  }
  replicas {
    min         = 1
    max         = 7
    concurrency = 3
  }
  hold {
    max_requests = 10
    max_bytes    = "1GiB"
    max_body     = "1MiB"
    max_wait     = "5m"
    async_max_wait = "1h"
    heartbeat = "5s"
  }
  request {
    timeout    = "2m"
    first_byte = "3m"
    idle       = "4m"
  }
  retry {
    attempts = 2
    repeat   = "keyed"
  }
  result {
    keep     = "12h"
    max_size = "1MiB"
    max_bytes = "2GiB"
  }
  sizing {
    mode               = "thresholds"
    target_utilization = 0.7
    patience           = 1.5
    every              = "30s"
    sample             = "10s"
  }
  scale_up {
    window          = "61s"
    cooldown        = "62s"
    max_step        = 1
    latency_mean    = "11s"
    latency_p50     = "12s"
    latency_p95     = "13s"
    latency_p99     = "14s"
    gpu_utilization = 85
    demand          = 50
    qps             = 10.5
  }
  scale_down {
    window          = "63s"
    cooldown        = "64s"
    max_step        = 2
    drain_timeout   = "65s"
    latency_mean    = "1s"
    latency_p50     = "2s"
    latency_p95     = "3s"
    latency_p99     = "4s"
    gpu_utilization = 40
    demand          = 20
    qps             = 3
  }
  to_zero {
    after    = "90s"
    at_least = "5s"
    at_most  = "6s"
    prewarm  = false
  }
  gpu {
    source = "metrics"
    query  = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
    port   = 9400
  }
  by_hand {
    count = "adopt"
    for   = "30m"
  }
  cost {
    gpu          = "1x 80GB"
    usd_per_hour = 2.50
  }
}`
	ptr := func(d time.Duration) *time.Duration { return &d }
	num := func(f float64) *float64 { return &f }
	want := &Policy{
		Name: "all", Description: "everything", Job: "job", Group: "group", Namespace: "prod", GPUPriority: 50,
		Route: Route{
			Hosts: []string{"a.example.org"}, PathPrefixes: []string{"/translate", "/"}, Models: []string{"m/1"}, StripPrefix: true,
		},
		Translate: &Translate{Backend: "completions", Model: "google/m"},
		Probe:     Probe{Path: "/ready?full=1", Timeout: time.Second, Max: time.Minute},
		Replicas:  Replicas{Min: 1, Max: 7, Concurrency: 3},
		Hold:      Hold{MaxRequests: 10, MaxBytes: 1 << 30, MaxBody: 1 << 20, MaxWait: 5 * time.Minute, AsyncMaxWait: time.Hour, Heartbeat: 5 * time.Second},
		Request:   Request{Timeout: 2 * time.Minute, FirstByte: 3 * time.Minute, Idle: 4 * time.Minute},
		Retry:     Retry{Attempts: 2, Repeat: "keyed"},
		Result:    Result{Keep: 12 * time.Hour, MaxSize: 1 << 20, MaxBytes: 2 << 30},
		Sizing: Sizing{
			Mode: "thresholds", Headroom: 0.5, TargetUtilization: num(0.7), Patience: 1.5,
			Every: 30 * time.Second, Sample: 10 * time.Second,
		},
		ScaleUp: Thresholds{
			Window: 61 * time.Second, Cooldown: 62 * time.Second, MaxStep: 1,
			LatencyMean: ptr(11 * time.Second), LatencyP50: ptr(12 * time.Second), LatencyP95: ptr(13 * time.Second), LatencyP99: ptr(14 * time.Second),
			GPUUtilization: num(85), Demand: num(50), QPS: num(10.5),
		},
		ScaleDown: Thresholds{
			Window: 63 * time.Second, Cooldown: 64 * time.Second, MaxStep: 2, DrainTimeout: 65 * time.Second,
			LatencyMean: ptr(time.Second), LatencyP50: ptr(2 * time.Second), LatencyP95: ptr(3 * time.Second), LatencyP99: ptr(4 * time.Second),
			GPUUtilization: num(40), Demand: num(20), QPS: num(3),
		},
		ToZero: ToZero{Mode: "after", After: 90 * time.Second, AtLeast: 5 * time.Second, AtMost: 6 * time.Second},
		GPU:    GPU{Source: "metrics", Query: "DCGM_FI_PROF_GR_ENGINE_ACTIVE", Port: 9400},
		ByHand: ByHand{Count: "adopt", For: 30 * time.Minute},
		Cost:   &Cost{GPU: "1x 80GB", USDPerHour: num(2.5)},
	}
	got, err := Parse("all.hcl", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Policy{want}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotWrittenHasItsDefault(t *testing.T) {
	want := New("translate")
	want.Job = "translate-apertium"
	want.Route.PathPrefixes = []string{"/translate"}
	got, err := Parse("translate.hcl", []byte(policyText("  replicas {\n  }\n  probe {\n    path = null\n  }")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Policy{want}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnErrorNamesFileLineFieldAndWhatIsAllowed(t *testing.T) {
	for _, test := range []struct{ lines, want string }{
		// values
		{"scale_up {\n  window = \"5x\"\n}", `5: scale_up.window: "5x" is not a duration; allowed: a Go duration of at least 1s, at most 24h, such as "1m"`},
		{`scale_up { window = "10ms" }`, `4: scale_up.window: "10ms" is too short; allowed: a Go duration of at least 1s, at most 24h, such as "1m"`},
		{`scale_up { window = "25h" }`, `4: scale_up.window: "25h" is too long; allowed: a Go duration of at least 1s, at most 24h, such as "1m"`},
		{`scale_up { window = 60 }`, `4: scale_up.window: 60 is not a duration; allowed: a Go duration of at least 1s, at most 24h, such as "1m"`},
		{`scale_up { cooldown = "atuo" }`, `4: scale_up.cooldown: "atuo" is not a duration, did you mean "auto"?; allowed: "auto", or a Go duration, at most 24h, such as "1m"`},
		{`to_zero { after = 5 }`, `4: to_zero.after: 5 is not a duration nor "auto", "never"; allowed: "auto", "never", or a Go duration of at least 100ms, at most 168h, such as "1m"`},
		{`hold { max_bytes = "5MB" }`, `4: hold.max_bytes: "5MB" is not a size; allowed: a whole number of B, KiB, MiB, GiB or TiB from 1KiB to 1TiB, such as "256MiB"`},
		{`hold { max_bytes = "9000000TiB" }`, `4: hold.max_bytes: "9000000TiB" is out of range; allowed: a whole number of B, KiB, MiB, GiB or TiB from 1KiB to 1TiB, such as "256MiB"`},
		{`hold { max_bytes = "2TiB" }`, `4: hold.max_bytes: "2TiB" is out of range; allowed: a whole number of B, KiB, MiB, GiB or TiB from 1KiB to 1TiB, such as "256MiB"`},
		{`hold { max_bytes = 1024 }`, `4: hold.max_bytes: 1024 is not a size; allowed: a whole number of B, KiB, MiB, GiB or TiB from 1KiB to 1TiB, such as "256MiB"`},
		{`replicas { max = "3" }`, `4: replicas.max: "3" is not a whole number; allowed: a whole number from 1 to 1000`},
		{`replicas { max = 2.5 }`, `4: replicas.max: 2.5 is not a whole number; allowed: a whole number from 1 to 1000`},
		{`replicas { max = 1e999 }`, `4: replicas.max: +Inf is out of range; allowed: a whole number from 1 to 1000`},
		{`replicas { min = -1 }`, `4: replicas.min: -1 is out of range; allowed: a whole number from 0 to 1000`},
		{`sizing { headroom = "much" }`, `4: sizing.headroom: "much" is not a number; allowed: a number from 0 to 10`},
		{`sizing { target_utilization = 0 }`, `4: sizing.target_utilization: 0 is out of range; allowed: a number above 0, at most 1`},
		{`scale_up { gpu_utilization = 101 }`, `4: scale_up.gpu_utilization: 101 is out of range; allowed: a number above 0, at most 100`},
		{`sizing { mode = "threshold" }`, `4: sizing.mode: "threshold" is not one of the choices, did you mean "thresholds"?; allowed: "auto", "thresholds"`},
		{`sizing { mode = "fast" }`, `4: sizing.mode: "fast" is not one of the choices; allowed: "auto", "thresholds"`},
		{`sizing { mode = auto }`, `4: sizing.mode: auto without quotes is not text; allowed: "auto", "thresholds"`},
		{`description = "a${1}"`, `4: description: an expression is not text; allowed: text of at most 1000 characters`},
		{`description = upper("a")`, `4: description: an expression is not text; allowed: text of at most 1000 characters`},
		{`description = "` + strings.Repeat("x", 1001) + `"`, `4: description: 1001 characters are too many; allowed: text of at most 1000 characters`},
		{`group = "a b"`, `4: group: "a b" is not accepted; allowed: a name without spaces, at most 128 characters`},
		{`preempt = "no"`, `4: preempt: "no" is not true or false; allowed: true, false`},
		{`regions = "eu"`, `4: regions: "eu" is not a list; allowed: a name without spaces, at most 128 characters`},

		// names
		{`scale_up { widow = "1m" }`, `4: scale_up.widow: is unknown, did you mean "window"?; allowed: "window", "cooldown", "max_step", "latency_mean", "latency_p50", "latency_p95", "latency_p99", "gpu_utilization", "demand", "qps"`},
		{`retry { zzz = 1 }`, `4: retry.zzz: is unknown; allowed: "attempts", "repeat"`},
		{`replica { min = 1 }`, `4: replica: is unknown, did you mean "replicas"?; allowed: "route", "translate", "probe", "replicas", "hold", "request", "retry", "result", "sizing", "scale_up", "scale_down", "to_zero", "schedule", "gpu", "by_hand", "metric", "cost"`},
		{`replicas = 3`, `4: replicas: is a block, not a value; allowed: replicas { … }`},
		{`weight { }`, `4: weight: is a value, not a block; allowed: a number above 0, at most 1000`},
		{"retry {\n  repeat {\n  }\n}", `5: retry.repeat: is a value, not a block; allowed: "never", "keyed", "always"`},
		{"retry {\n  again {\n  }\n}", `5: retry.again: is unknown: retry holds no blocks; allowed: "attempts", "repeat"`},
		{"retry {\n}\nretry {\n}", `6: retry: is written twice, first in line 4; allowed: one retry block`},
		{`retry "now" { }`, `4: retry: takes no name; allowed: retry { … }`},

		// contradictions
		{`replicas { min = 2 }`, `4: replicas.min: 2 is above replicas.max; allowed: at most 1`},
		{`sizing { sample = "90s" }`, `4: scale_up.window: 1m is shorter than one sizing.sample; allowed: at least 1m30s`},
		{"sizing {\n  headroom = 1\n  target_utilization = 0.5\n}", `6: sizing.target_utilization: stands together with sizing.headroom; allowed: one of the two`},
		{"scale_up { demand = 5 }\nscale_down { demand = 5 }", `5: scale_down.demand: 5 is not below scale_up.demand; allowed: below 5`},
		{"scale_up { latency_p99 = \"2s\" }\nscale_down { latency_p99 = \"2s\" }", `5: scale_down.latency_p99: "2s" is not below scale_up.latency_p99; allowed: below "2s"`},
		{"scale_up { latency_p95 = \"2s\" }\nscale_down { latency_p95 = \"3s\" }", `5: scale_down.latency_p95: "3s" is not below scale_up.latency_p95; allowed: below "2s"`},
		{"to_zero {\n  at_most = \"10s\"\n}", `5: to_zero.at_least: 30s is longer than to_zero.at_most; allowed: at most 10s`},
		{`translate { backend = "completions" }`, `4: translate.model: is required by backend "completions"; allowed: the name of a model`},
		{"probe {\n  timeout = \"5s\"\n  max = \"4s\"\n}", `5: probe.timeout: 5s is longer than probe.max; allowed: at most 4s`},
		{`gpu { source = "prometheus" }`, `4: gpu.query: is required by source "prometheus"; allowed: PromQL that gives one number, in percent`},
		{"gpu {\n  source = \"prometheus\"\n  query = \" \"\n}", `6: gpu.query: is required by source "prometheus"; allowed: PromQL that gives one number, in percent`},
		{"gpu {\n  source = \"metrics\"\n  query = \"avg(DCGM_FI_DEV_GPU_UTIL)\"\n}", `6: gpu.query: "avg(DCGM_FI_DEV_GPU_UTIL)" is not the name of a metric, which it is for source "metrics"; allowed: the name of one metric: letters, digits, _ and :, not a digit first; PromQL is for source "prometheus"`},
		{`gpu { query = "up" }`, `4: gpu.query: is not used by source "nomad"; allowed: source "metrics" or "prometheus", or no query`},
		{`gpu { port = 9400 }`, `4: gpu.port: is not used by source "nomad"; allowed: source "metrics", or no port`},
		{"gpu {\n  source = \"prometheus\"\n  query = \"up\"\n  port = 9400\n}", `7: gpu.port: is not used by source "prometheus"; allowed: source "metrics", or no port`},
		{"gpu {\n  source = \"metrics\"\n  port = 70000\n}", `6: gpu.port: 70000 is out of range; allowed: a whole number from 0 to 65535`},

		// syntax
		{"scale_up {\n  window = 5m\n}", `5: scale_up.window: 5m is not a plain value; allowed: quotes around it: "5m"`},
		{"replicas {\n  min 2\n}", `5: An argument or block definition is required here. To set an argument, use the equals sign "=" to introduce the argument value`},
	} {
		t.Run(test.lines, func(t *testing.T) {
			got := problems(t, policyText(test.lines))
			if diff := cmp.Diff([]string{"translate.hcl:" + test.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestARouteIsCheckedForWhatCannotBeRouted(t *testing.T) {
	const allowedPath = `a path without a "/" at its end, such as "/translate"`
	const allowedHost = `a host name in lower case without port, such as "translate.example.org"`
	for route, want := range map[string]string{
		``:                                `3: route: routes nothing; allowed: at least one of hosts, path_prefixes and models`,
		`path_prefixes = []`:              `3: route: routes nothing; allowed: at least one of hosts, path_prefixes and models`,
		`path_prefixes = ["/health"]`:     `3: route.path_prefixes: "/health" is reserved: Pilotlight answers /health itself; allowed: another path`,
		`path_prefixes = ["/livez/x"]`:    `3: route.path_prefixes: "/livez/x" is reserved: Pilotlight answers /livez itself; allowed: another path`,
		`path_prefixes = ["/pilotlight"]`: `3: route.path_prefixes: "/pilotlight" is reserved: Pilotlight answers /pilotlight itself; allowed: another path`,
		`path_prefixes = ["/sleep"]`:      `3: route.path_prefixes: "/sleep" is an engine's private endpoint and never routed; allowed: another path`,
		`path_prefixes = ["translate"]`:   `3: route.path_prefixes: "translate" is not accepted; allowed: ` + allowedPath,
		`path_prefixes = ["/a/"]`:         `3: route.path_prefixes: "/a/" is not accepted; allowed: ` + allowedPath,
		`path_prefixes = ["/a/../b"]`:     `3: route.path_prefixes: "/a/../b" is not accepted; allowed: ` + allowedPath,
		`path_prefixes = ["/a?b"]`:        `3: route.path_prefixes: "/a?b" is not accepted; allowed: ` + allowedPath,
		`path_prefixes = ["/a", "/a"]`:    `3: route.path_prefixes: "/a" is listed twice; allowed: ` + allowedPath,
		`path_prefixes = ["/a", 5]`:       `3: route.path_prefixes: 5 is not text; allowed: ` + allowedPath,
		`hosts = ["A.example"]`:           `3: route.hosts: "A.example" is not accepted; allowed: ` + allowedHost,
		`hosts = ["a.example:80"]`:        `3: route.hosts: "a.example:80" is not accepted; allowed: ` + allowedHost,
	} {
		text := "policy \"translate\" {\n  job = \"j\"\n  route { " + route + " }\n}\n"
		if diff := cmp.Diff([]string{"translate.hcl:" + want}, problems(t, text)); diff != "" {
			t.Errorf("%s:\n%s", route, diff)
		}
	}
	for _, fine := range []string{`path_prefixes = ["/healthy"]`, `path_prefixes = ["/"]`, `hosts = ["a"]`, `models = ["a/b:c"]`, `path_prefixes = ["/v1/übersetze"]`} {
		if got := problems(t, "policy \"translate\" {\n  job = \"j\"\n  route { "+fine+" }\n}\n"); got != nil {
			t.Errorf("%s: %v", fine, got)
		}
	}
}

func TestAllErrorsAreReportedAtOnceInTheOrderOfTheFile(t *testing.T) {
	text := `policy "Translate" {
  jobb = "x"
  replicas {
    min = 4
    max = "many"
  }
  scale_up {
    window = "5x"
    qsp    = 3
  }
}
policy "b" {
}
policy "b" {
  job = "b"
  route { models = ["b"] }
}
service "c" {
}
d = 1
`
	want := []string{
		`translate.hcl:1: name: "Translate" is not a policy's name; allowed: lower-case letters, digits and "-", from 1 to 63 characters`,
		`translate.hcl:1: job: is required; allowed: the id of a Nomad job`,
		`translate.hcl:1: route: routes nothing; allowed: at least one of hosts, path_prefixes and models`,
		`translate.hcl:2: jobb: is unknown, did you mean "job"?; allowed: "description", "job", "group", "namespace", "regions", "gpu_priority", "weight", "preempt", and the blocks ` + quoted(blockNames()),
		`translate.hcl:5: replicas.max: "many" is not a whole number; allowed: a whole number from 1 to 1000`,
		`translate.hcl:8: scale_up.window: "5x" is not a duration; allowed: a Go duration of at least 1s, at most 24h, such as "1m"`,
		`translate.hcl:9: scale_up.qsp: is unknown, did you mean "qps"?; allowed: ` + quoted(attributesOf("scale_up")),
		`translate.hcl:12: job: is required; allowed: the id of a Nomad job`,
		`translate.hcl:12: route: routes nothing; allowed: at least one of hosts, path_prefixes and models`,
		`translate.hcl:14: name: "b" names a second policy, the first is in line 12; allowed: another name`,
		`translate.hcl:18: "service" is unknown; allowed: policy "name" { … }`,
		`translate.hcl:20: "d" stands outside of a policy; allowed: policy "name" { … }`,
	}
	if diff := cmp.Diff(want, problems(t, text)); diff != "" {
		t.Error(diff)
	}
}

func TestAnErrorOfSyntaxDoesNotHideTheOthersNorInventMissingFields(t *testing.T) {
	text := `policy "translate" {
  replicas {
    max = "many"
  }
  scale_up {
    window = 5m
  }
  retry {
    atempts = 3
  }
  job = = "x"
}
`
	got := problems(t, text)
	want := []string{
		`translate.hcl:3: replicas.max: "many" is not a whole number; allowed: a whole number from 1 to 1000`,
		`translate.hcl:6: scale_up.window: 5m is not a plain value; allowed: quotes around it: "5m"`,
		`translate.hcl:9: retry.atempts: is unknown, did you mean "attempts"?; allowed: "attempts", "repeat"`,
	}
	if len(got) < 3 {
		t.Fatalf("got only %q", got)
	}
	if diff := cmp.Diff(want, got[:3]); diff != "" {
		t.Error(diff)
	}
	for _, line := range got {
		if strings.Contains(line, "is required") || strings.Contains(line, "routes nothing") {
			t.Errorf("what the parser may have lost is reported as missing: %s", line)
		}
	}
}
