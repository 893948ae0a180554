package spec

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestParseReadsWhatDrainsChecksAndLostNodesDo(t *testing.T) {
	const src = `job "x" {
  migrate {
    healthy_deadline = "20m"
  }
  group "g" {
    shutdown_delay = "1s"
    migrate {
      max_parallel = 2
    }
    disconnect {
      lost_after = "1h"
    }
    ephemeral_disk {
      size    = 9000
      migrate = true
    }
    service {
      check_restart {
        limit = 3
      }
      check {
        type = "tcp"
      }
      check {
        type = "http"
        check_restart {
          limit = 1
          grace = "1m"
        }
      }
    }
    task "t" {
      shutdown_delay = "2s"
      artifact {}
      artifact {}
      template {
        data = "written to a file"
      }
      template {
        data = "this too"
        env  = false
      }
    }
  }
  group "old" {
    max_client_disconnect      = "1m"
    prevent_reschedule_on_lost = true
  }
}
`
	s, findings := Parse("x.hcl", []byte(src))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := []jobs.Group{
		{
			Name: "g", Line: 5, Count: -1, Restart: defaultRestart(), ShutdownDelay: time.Second,
			Migrate:       jobs.Migrate{MaxParallel: 2, HealthyDeadline: 20 * time.Minute, Line: 7},
			Disconnect:    &jobs.Disconnect{LostAfter: time.Hour, Replace: true, Line: 10},
			EphemeralDisk: jobs.EphemeralDisk{SizeMB: 9000, Migrate: true, Line: 13},
			Checks: []jobs.Check{
				{Type: "tcp", Line: 21, Restart: &jobs.CheckRestart{Limit: 3, Grace: time.Second, Line: 18}},
				{Type: "http", Line: 24, Restart: &jobs.CheckRestart{Limit: 1, Grace: time.Minute, Line: 26}},
			},
			Tasks: []jobs.Task{{Name: "t", Line: 32, ShutdownDelay: 2 * time.Second, KillTimeout: defaultKillTimeout,
				Artifacts: 2, Env: map[string]string{}}},
		},
		{
			Name: "old", Line: 45, Count: -1, Restart: defaultRestart(),
			Migrate:       jobs.Migrate{MaxParallel: 1, HealthyDeadline: 20 * time.Minute, Line: 2},
			Disconnect:    &jobs.Disconnect{LostAfter: time.Minute, Line: 45},
			EphemeralDisk: defaultDisk,
		},
	}
	if diff := cmp.Diff(want, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestWhatPilotlightDoesNotKnowInAJobsMetaIsAnError(t *testing.T) {
	s, findings := Parse("x.hcl", []byte("job \"x\" {\n  meta {\n    pilotlight = \"off\"\n  }\n}\n"))
	if s.Unscaled || len(findings) != 1 || findings[0].Rule != RuleBadValue || !strings.Contains(findings[0].Allowed, metaUnscaled) {
		t.Errorf("spec %+v, findings %v", s, findings)
	}
}
