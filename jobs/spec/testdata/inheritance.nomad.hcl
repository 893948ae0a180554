# What a Nomad 2.0 agent makes of this file is in TestParseInheritsAsNomadDoes.
variables {
  delay = "9s"
}

job "outer" {
  id        = "inner"
  namespace = "apps"

  update {
    max_parallel = 2
  }

  reschedule {
    delay     = "7s"
    unlimited = true
  }

  group "a" {
    shutdown_delay = "4s"

    scaling {
      max     = 5
      enabled = false
    }

    update {
      stagger = "30s"
    }

    reschedule {
      delay_function = "constant"
    }

    restart {
      delay = var.delay
    }

    network {
      port "http" {
        static = 8080
      }
      port "metrics" {}
    }

    service {
      port = "http"
      check {
        type     = "http"
        path     = "/x"
        interval = "1s"
        timeout  = "1s"
      }
    }

    task "pre" {
      driver = "raw_exec"
      user   = "nobody"
      lifecycle {
        hook = "prestart"
      }
      config {
        command = "/bin/true"
      }
      env = {
        Q = 1
        R = "${NOMAD_ALLOC_ID}"
      }
    }

    task "main" {
      driver      = "raw_exec"
      leader      = true
      kill_signal = "SIGTERM"
      restart {
        attempts = 7
      }
      config {
        command = "/bin/true"
      }
      service {
        port = "metrics"
        check {
          type     = "tcp"
          port     = "http"
          interval = "1s"
          timeout  = "1s"
        }
      }
    }
  }

  group "b" {
    scaling {
      min = 2
      max = 4
    }
    task "x" {
      driver = "exec"
    }
  }

  task "solo" {
    driver       = "raw_exec"
    kill_timeout = "10s"
  }
}
