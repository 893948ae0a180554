# The scripted model server of Pilotlight itself: loads, computes and answers as
# long as it is told to, without a GPU. `pilotlight dev --engine stub` runs it;
# so does a real Nomad whose clients enable raw_exec and have `pilotlight` on
# their PATH. See `pilotlight stub --help`.

variable "load" {
  type        = string
  description = "How long the pretended model loads: 503 on /health until then."
  default     = "3s"
}

variable "latency" {
  type        = string
  description = "How long one request is computed on."
  default     = "50ms"
}

variable "concurrency" {
  type        = number
  description = "How many requests are computed on at once."
  default     = 8
}

job "stub" {
  type = "service"

  group "server" {
    count = 0 # Pilotlight's

    update {
      max_parallel = 0
    }

    network {
      port "http" {}
    }

    service {
      name     = "stub"
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

    task "stub" {
      driver = "raw_exec"

      config {
        command = "pilotlight"
        args = [
          "stub",
          "--listen", "${NOMAD_ADDR_http}", # the address that Nomad tells Pilotlight
          "--load", var.load,
          "--latency", var.latency,
          "--concurrency", "${var.concurrency}",
        ]
      }

      # As long as a drain. A Nomad client cuts it to its own max_kill_timeout,
      # 30 s by default.
      kill_signal  = "SIGTERM"
      kill_timeout = "5m"

      resources {
        cpu    = 100 # MHz
        memory = 64  # MiB
      }
    }
  }
}
