# A model that is soon there, and that only operators command.
job "operated" {
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
      name     = "operated"
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
        args    = ["stub", "--listen", "${NOMAD_ADDR_http}", "--load", "300ms", "--latency", "1s"]
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "5m"
    }
  }
}
