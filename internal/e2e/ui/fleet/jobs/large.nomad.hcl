# A model that takes its time to load and to answer, so that each phase of a wake
# can be watched. Found on the PATH: the binary under test.
job "large" {
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
      name     = "large"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
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

      config {
        command = "pilotlight"
        args    = ["stub", "--listen", "${NOMAD_ADDR_http}", "--load", "4s", "--latency", "2s"]
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "5m"
    }
  }
}
