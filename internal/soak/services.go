package soak

import (
	"fmt"
	"os"
	"path/filepath"
)

// Service of the soak.
type Service struct {
	Name        string
	Concurrency int
	Most        int  // replicas
	Always      bool // retry.repeat "always"; else "keyed"
	// ComputesOn: its replicas finish what their clients have left; nobody cancels
	// there.
	ComputesOn bool
	Weight     int // of the load
}

// Services that the soak runs: one whose engine computes on, one with a single
// slot, where order is strict, one with many, and a translation.
var Services = []Service{
	{Name: "engine", Concurrency: 3, Most: 2, ComputesOn: true, Weight: 5},
	{Name: "single", Concurrency: 1, Most: 1, Always: true, Weight: 4},
	{Name: "wide", Concurrency: 4, Most: 3, Weight: 4},
	{Name: "translate", Concurrency: 2, Most: 1, Always: true, Weight: 2},
}

// Attempts is how often a request may be executed.
func (s Service) Attempts(keyed bool) int {
	if keyed || s.Always {
		return attempts
	}
	return 1
}

// path of POST requests.
func (s Service) path() string {
	if s.Name == "translate" {
		return "/translate"
	}
	return "/" + s.Name + "/work"
}

func (s Service) policy() string {
	repeat, adapter := "keyed", ""
	if s.Always {
		repeat = "always"
	}
	if s.Name == "translate" {
		adapter = "translate {\n    backend = \"passthrough\"\n  }"
	}
	return fmt.Sprintf(`policy %q {
  job = %q
  route {
    path_prefixes = [%q]
    strip_prefix  = %t
  }
  %s
  probe {
    path = "/health"
  }
  replicas {
    max         = %d
    concurrency = %d
  }
  hold {
    max_wait  = "4m"
    heartbeat = "1s"
  }
  request {
    timeout    = %q
    first_byte = %q
    idle       = %q
  }
  retry {
    attempts = %d
    repeat   = %q
  }
  result {
    keep = "30m"
  }
  to_zero {
    after = "4s"
  }
}
`, s.Name, s.Name, "/"+s.Name, adapter == "", adapter, s.Most, s.Concurrency,
		requestTimeout, requestTimeout, requestTimeout, attempts, repeat)
}

// job spec; executions is the log that all replicas append to. Their own limit is
// far above their slots, so that an execution begins when it is sent.
func (s Service) job(executions string) string {
	more := ""
	if s.ComputesOn {
		more = `, "--compute-on"`
	}
	return fmt.Sprintf(`job %q {
  type = "service"
  group "server" {
    count = 0
    update {
      max_parallel = 0
    }
    network {
      port "http" {}
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      unlimited      = true
      delay          = "1s"
      delay_function = "constant"
    }
    task "model" {
      driver = "raw_exec"
      config {
        command = "pilotlight"
        args    = ["stub", "--listen", "${NOMAD_ADDR_http}", "--load", "150ms", "--latency", "5ms", "--concurrency", "64", "--log-file", %q%s]
      }
      kill_signal  = "SIGTERM"
      kill_timeout = "15s"
    }
  }
}
`, s.Name, executions, more)
}

// writeServices puts policies and job specs into two folders.
func writeServices(dir, executions string) (policies, jobs string, err error) {
	policies, jobs = filepath.Join(dir, "policies"), filepath.Join(dir, "jobs")
	for _, d := range []string{policies, jobs} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return "", "", err
		}
	}
	for _, s := range Services {
		if err := os.WriteFile(filepath.Join(policies, s.Name+".hcl"), []byte(s.policy()), 0o600); err != nil {
			return "", "", err
		}
		if err := os.WriteFile(filepath.Join(jobs, s.Name+".nomad.hcl"), []byte(s.job(executions)), 0o600); err != nil {
			return "", "", err
		}
	}
	return policies, jobs, nil
}
