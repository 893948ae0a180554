package spec

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

// clean raises no finding; the cases of TestCheck change it.
const clean = `job "m" {
  type = "service"
  group "server" {
    count = 0
    update {
      max_parallel = 0
    }
    network {
      port "http" {}
    }
    service {
      port = "http"
      check {
        type = "http"
        path = "/health"
      }
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      unlimited      = true
      delay          = "5s"
      delay_function = "constant"
    }
    task "model" {
      driver = "raw_exec"
    }
  }
}
`

const secondGroup = `  group "cache" {
    task "redis" {}
  }
}
`

func TestCheck(t *testing.T) {
	failure := func(line, column int, rule, path string) []finding {
		return []finding{{line, column, jobs.SeverityError, rule, path}}
	}
	warning := func(line, column int, rule, path string) []finding {
		return []finding{{line, column, jobs.SeverityWarning, rule, path}}
	}
	for _, c := range []struct {
		name     string
		old, new string // what is changed in clean
		group    string
		want     []finding
		says     string
	}{
		{name: "a clean spec raises nothing"},
		{name: "a clean spec raises nothing with its group named", group: "server"},

		{"a group that is not there", "", "", "other", failure(1, 1, RuleUnknownGroup, "group.other"), `no group "other"`},
		{"no group at all", clean[strings.Index(clean, "  group"):], "}\n", "", failure(1, 1, RuleUnknownGroup, "group"), "no group"},
		{"a second group, none named", "    }\n  }\n}\n", "    }\n  }\n" + secondGroup, "",
			warning(1, 1, RuleUnknownGroup, "group"), "must name one"},
		{"a second group, the first one named", "    }\n  }\n}\n", "    }\n  }\n" + secondGroup, "server", nil, ""},

		{"no port", "port \"http\" {}\n", "\n", "", failure(8, 5, RuleNoPort, "group.server.network.port.http"), "where its replicas listen"},
		{"a port of another name", `port "http"`, `port "api"`, "", failure(8, 5, RuleNoPort, "group.server.network.port.http"), ""},
		{"no network", "network {\n      port \"http\" {}\n    }", "", "", failure(3, 3, RuleNoPort, "group.server.network.port.http"), ""},
		{"a static port", `port "http" {}`, "port \"http\" {\n        static = 80\n      }", "",
			failure(10, 9, RuleStaticPort, "group.server.network.port.http.static"), "static port 80"},
		{"a mapped dynamic port", `port "http" {}`, "port \"http\" {\n        to = 80\n      }", "", nil, ""},

		{"a batch job", `type = "service"`, `type = "batch"`, "", failure(2, 3, RuleJobType, "type"), "batch"},
		{"a system job", `type = "service"`, `type = "system"`, "", failure(2, 3, RuleJobType, "type"), "system"},
		{"a job without a type is a service", `type = "service"`, "", "", nil, ""},
		{"a periodic job", `type = "service"`, "periodic {\n  }", "", failure(2, 3, RuleJobType, "periodic"), "starts nothing"},
		{"a parameterized job", `type = "service"`, "parameterized {}", "", failure(2, 3, RuleJobType, "parameterized"), "starts nothing"},

		{"no update block", "update {\n      max_parallel = 0\n    }", "", "", failure(3, 3, RuleUpdateBlock, "group.server.update.max_parallel"), "deployment"},
		{"an update block with Nomad's default", "max_parallel = 0", "stagger = \"30s\"", "", failure(5, 5, RuleUpdateBlock, "group.server.update.max_parallel"), "is 1"},
		{"an update block that allows deployments", "max_parallel = 0", "max_parallel = 2", "", failure(6, 7, RuleUpdateBlock, "group.server.update.max_parallel"), "is 2"},
		{"the update block of the job", `type = "service"`, "update {\n    max_parallel = 0\n  }", "", nil, ""},
		{"the update block of the job, not overridden", clean[strings.Index(clean, "  type"):strings.Index(clean, "    network")],
			"  update {\n    max_parallel = 3\n  }\n  group \"server\" {\n    count = 0\n", "", failure(3, 5, RuleUpdateBlock, "update.max_parallel"), "is 3"},

		{"no reschedule block", clean[strings.Index(clean, "    reschedule"):strings.Index(clean, "    task")], "", "",
			warning(3, 3, RuleReschedule, "group.server.reschedule"), "up to 1 h"},
		{"a limit on rescheduling", "unlimited      = true", "unlimited = false\n      attempts = 3", "",
			failure(23, 7, RuleReschedule, "group.server.reschedule.unlimited"), "after 3 attempts"},
		{"exponential rescheduling", `"constant"`, `"exponential"`, "",
			warning(25, 7, RuleReschedule, "group.server.reschedule.delay_function"), "exponential"},
		{"slow rescheduling", `delay          = "5s"`, `delay          = "1m"`, "",
			warning(24, 7, RuleReschedule, "group.server.reschedule.delay"), "1m0s"},
		{"rescheduling at once", `delay          = "5s"`, `delay          = "1s"`, "",
			failure(24, 7, RuleRefused, "group.server.reschedule.delay"), "of 1s: the shortest is 5s"},
		{"rescheduling at once, of the job", `type = "service"`, "reschedule {\n    delay = \"1s\"\n  }", "", nil, ""},
		{"rescheduling after 30 s", `delay          = "5s"`, `delay          = "30s"`, "", nil, ""},

		{"a scaling block", "    network {", "    scaling {\n      min = 0\n      max = 4\n    }\n    network {", "",
			warning(8, 5, RuleScalingBlock, "group.server.scaling"), "max of 4"},
		{"a scaling block with a minimum", "    network {", "    scaling {\n      min = 1\n      max = 4\n    }\n    network {", "",
			failure(9, 7, RuleScalingBlock, "group.server.scaling.min"), "to zero"},
		{"a scaling block bound to the count of 0", "    network {", "    scaling {\n      max = 4\n    }\n    network {", "",
			warning(8, 5, RuleScalingBlock, "group.server.scaling"), ""},

		{"a count", "count = 0", "count = 2", "", warning(4, 5, RuleCount, "group.server.count"), "count = 2"},
		{"no count", "count = 0", "", "", warning(3, 3, RuleCount, "group.server.count"), "which is 1"},

		{"restart mode delay", "attempts = 0\n      mode     = \"fail\"", "attempts = 1\n      mode     = \"delay\"", "",
			warning(20, 7, RuleRestartHidesFailure, "group.server.restart.mode"), "for ever"},
		{"restarts for more than a minute", "attempts = 0", "attempts = 5", "",
			warning(18, 5, RuleRestartHidesFailure, "group.server.restart"), "1m15s"},
		{"restarts of the task for more than a minute", `driver = "raw_exec"`, "restart {\n        attempts = 5\n      }", "",
			warning(28, 7, RuleRestartHidesFailure, "group.server.task.model.restart"), "1m15s"},
		{"a few restarts", "attempts = 0", "attempts = 2", "", nil, ""},
		{"Nomad's default restarts", clean[strings.Index(clean, "    restart"):strings.Index(clean, "    reschedule")], "", "", nil, ""},
		{"restart mode delay without attempts", `mode     = "fail"`, `mode     = "delay"`, "",
			failure(20, 7, RuleRefused, "group.server.restart.mode"), "for ever"},
		{"restart mode delay of the task alone, which Nomad takes", `driver = "raw_exec"`, "restart {\n        attempts = 0\n        mode     = \"delay\"\n      }", "", nil, ""},

		{"no check", clean[strings.Index(clean, "      check"):strings.Index(clean, "    restart")], "    }\n", "",
			warning(11, 5, RuleNoCheck, "group.server.service.check"), "/health"},
		{"a TCP check", `type = "http"`, `type = "tcp"`, "", warning(13, 7, RuleNoCheck, "group.server.service.check"), ""},
		{"a check on another port", `path = "/health"`, "path = \"/health\"\n        port = \"metrics\"", "",
			warning(13, 7, RuleNoCheck, "group.server.service.check"), ""},

		{"only a task with a hook", `driver = "raw_exec"`, "lifecycle {\n        hook = \"prestart\"\n      }", "",
			failure(3, 3, RuleNoMainTask, "group.server.task"), "lifecycle"},
		{"a second task that serves", "    task \"model\"", "    task \"proxy\" {}\n    task \"model\"", "",
			warning(27, 5, RuleLeader, "group.server.task.proxy.leader"), "proxy, model"},
		{"a second task beside a leader", `driver = "raw_exec"`, "leader = true\n    }\n    task \"proxy\" {", "", nil, ""},
		{"a second task with a hook", "    task \"model\"", "    task \"fetch\" {\n      lifecycle {\n        hook = \"prestart\"\n      }\n    }\n    task \"model\"", "", nil, ""},

		{"a signal that cannot be caught", `driver = "raw_exec"`, `kill_signal = "SIGKILL"`, "",
			failure(28, 7, RuleKillSignal, "group.server.task.model.kill_signal"), "SIGKILL"},
		{"another one, as Nomad takes it too", `driver = "raw_exec"`, `kill_signal = "stop"`, "",
			failure(28, 7, RuleKillSignal, "group.server.task.model.kill_signal"), "SIGSTOP"},
		{"a signal that can", `driver = "raw_exec"`, `kill_signal = "SIGTERM"`, "", nil, ""},
		{"a kill_timeout that clients cut by default", `driver = "raw_exec"`, `kill_timeout = "31s"`, "",
			warning(28, 7, RuleKillTimeout, "group.server.task.model.kill_timeout"), "31s"},
		{"a kill_timeout that they grant", `driver = "raw_exec"`, `kill_timeout = "30s"`, "", nil, ""},
		{"a long shutdown_delay", "count = 0", "count = 0\n    shutdown_delay = \"50s\"", "", nil, ""},
		{"too long a shutdown_delay", "count = 0", "count = 0\n    shutdown_delay = \"61s\"", "",
			warning(5, 5, RuleShutdownDelay, "group.server.shutdown_delay"), "1m1s"},
		{"too long a shutdown_delay of the task", `driver = "raw_exec"`, `shutdown_delay = "2m"`, "",
			warning(28, 7, RuleShutdownDelay, "group.server.task.model.shutdown_delay"), "2m0s"},

		{"no replacement on a lost node", "count = 0", "count = 0\n    prevent_reschedule_on_lost = true", "",
			failure(5, 5, RuleDisconnect, "group.server.prevent_reschedule_on_lost"), "prevent_reschedule_on_lost"},
		{"no replacement for an hour", "count = 0", "count = 0\n    disconnect {\n      lost_after = \"1h\"\n      replace = false\n    }", "",
			warning(7, 7, RuleDisconnect, "group.server.disconnect.replace"), "1h0m0s"},
		{"no replacement for a moment", "count = 0", "count = 0\n    disconnect {\n      lost_after = \"20s\"\n      replace = false\n    }", "", nil, ""},
		{"a replacement at once", "count = 0", "count = 0\n    disconnect {\n      lost_after = \"1h\"\n    }", "", nil, ""},

		{"artifacts on a small disk", `driver = "raw_exec"`, "artifact {\n      }", "",
			warning(3, 3, RuleEphemeralDisk, "group.server.ephemeral_disk.size"), "300 MB"},
		{"artifacts on a large disk", "count = 0\n", "count = 0\n    ephemeral_disk {\n      size = 9000\n    }\n    task \"fetch\" {\n      lifecycle {\n        hook = \"prestart\"\n      }\n      artifact {\n      }\n    }\n", "", nil, ""},
		{"a disk that is copied about", "count = 0\n", "count = 0\n    ephemeral_disk {\n      migrate = true\n    }\n", "",
			warning(6, 7, RuleEphemeralDisk, "group.server.ephemeral_disk.migrate"), "cold start"},

		{"no task", "task \"model\" {\n      driver = \"raw_exec\"\n    }", "", "", failure(3, 3, RuleNoMainTask, "group.server.task"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(clean, c.old) {
				t.Fatalf("the clean spec has no %q", c.old)
			}
			s, findings := Parse("m.nomad.hcl", []byte(strings.Replace(clean, c.old, c.new, 1)))
			if len(findings) > 0 {
				t.Fatalf("Parse finds %v", findings)
			}
			got := Check(s, c.group, Clients{})
			if diff := cmp.Diff(c.want, shortened(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			for _, f := range got {
				if f.File != "m.nomad.hcl" || f.Allowed == "" || !strings.Contains(f.Message, c.says) {
					t.Errorf("no file, nothing allowed, or not said %q: %+v", c.says, f)
				}
			}
		})
	}
}

func TestCheckJudgesNoValueThatParseCouldNotEvaluate(t *testing.T) {
	for _, c := range []struct{ name, old, new, path string }{
		{"max_parallel of the group", "max_parallel = 0", "max_parallel = var.x", "group.server.update.max_parallel"},
		{"max_parallel of the job", clean[strings.Index(clean, "  type"):strings.Index(clean, "    network")],
			"  update {\n    max_parallel = var.x\n  }\n  group \"server\" {\n    count = 0\n", "update.max_parallel"},
		{"the job's type", `type = "service"`, `type = var.x`, "type"},
		{"generated ports", `port "http" {}`, "dynamic \"port\" {\n        for_each = [\"http\"]\n        content {}\n      }", "group.server.network.port"},
		{"a generated network", "network {", "dynamic \"network\" {\n      for_each = []", "group.server.network"},
		{"generated services", "service {\n      port = \"http\"\n", "dynamic \"service\" {\n      for_each = []\n", "group.server.service"},
		{"generated tasks", "task \"model\"", "dynamic \"task\"", "group.server.task"},
		{"the delay of reschedule", `delay          = "5s"`, `delay          = var.x`, "group.server.reschedule.delay"},
		{"the count", "count = 0", "count = var.x", "group.server.count"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(clean, c.old) {
				t.Fatalf("the clean spec has no %q", c.old)
			}
			src := "variable \"x\" {}\n" + strings.Replace(clean, c.old, c.new, 1)
			s, findings := Parse("m.nomad.hcl", []byte(src))
			if len(findings) != 1 || findings[0].Rule != RuleNotJudged || findings[0].Path != c.path {
				t.Errorf("Parse finds %v, want not-judged at %s", findings, c.path)
			}
			if findings := Check(s, "", Clients{}); len(findings) > 0 {
				t.Errorf("Check finds %v", findings)
			}
		})
	}
}

func TestCheckOfASpecWithoutSourceGivesTheLinesItKnows(t *testing.T) {
	s, _ := Parse("m.nomad.hcl", []byte(strings.Replace(clean, `port "http" {}`, "port \"http\" {\n static = 80\n}", 1)))
	s.Source = ""
	want := []finding{{9, 1, jobs.SeverityError, RuleStaticPort, "group.server.network.port.http.static"}}
	if diff := cmp.Diff(want, shortened(Check(s, "", Clients{}))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestCheckOfNoSpecFindsNothing(t *testing.T) {
	if findings := Check(nil, "", Clients{}); findings != nil {
		t.Errorf("got %v", findings)
	}
}

func TestRefineLeavesFindingsOnOtherFilesAlone(t *testing.T) {
	s, _ := Parse("m.nomad.hcl", []byte(clean))
	given := []jobs.Finding{
		{File: "policy.hcl", Line: 40, Column: 2, Rule: RuleCount, Path: "group.server.count"},
		{File: "m.nomad.hcl", Line: 1, Column: 1, Rule: "kill-timeout", Path: "group.server.task.model.kill_timeout"},
	}
	want := []finding{
		{27, 5, "", "kill-timeout", "group.server.task.model.kill_timeout"},
		{40, 2, "", RuleCount, "group.server.count"},
	}
	if diff := cmp.Diff(want, shortened(Refine(s, given))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestKillTimeoutsAboveWhatTheClientsAreSaidToGrantAreErrors(t *testing.T) {
	s, _ := Parse("m.nomad.hcl", []byte(strings.Replace(clean, `driver = "raw_exec"`, `kill_timeout = "6m"`, 1)))
	for limit, want := range map[time.Duration][]finding{
		5 * time.Minute: {{28, 7, jobs.SeverityError, RuleKillTimeout, "group.server.task.model.kill_timeout"}},
		6 * time.Minute: nil,
	} {
		if diff := cmp.Diff(want, shortened(Check(s, "", Clients{MaxKillTimeout: limit}))); diff != "" {
			t.Errorf("clients grant %s, findings (-want +got):\n%s", limit, diff)
		}
	}
}

// A job such as a Redis is whatever its operator wants, but Pilotlight's own
// promises depend on how it ends.
func TestOfAJobThatIsNotScaledOnlyItsEndIsJudged(t *testing.T) {
	const src = `job "redis" {
  type = "system"
  meta {
    pilotlight = "not-scaled"
  }
  group "redis" {
    count = 3
    network {
      port "redis" {
        static = 6379
      }
    }
    task "redis" {
      kill_timeout = "1m"
    }
  }
}
`
	s, findings := Parse("m.nomad.hcl", []byte(src))
	if len(findings) > 0 || !s.Unscaled {
		t.Fatalf("unscaled: %t, findings %v", s.Unscaled, findings)
	}
	want := []finding{{14, 7, jobs.SeverityWarning, RuleKillTimeout, "group.redis.task.redis.kill_timeout"}}
	if diff := cmp.Diff(want, shortened(Check(s, "", Clients{}))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestRulesAreNamedOnceAndDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.Name] || r.Text == "" || !strings.HasSuffix(r.Text, ".") {
			t.Errorf("rule %q: twice, or no sentence: %q", r.Name, r.Text)
		}
		seen[r.Name] = true
	}
}
