# Image recognition: any server that takes POST /recognize with an image as
# multipart/form-data, answers with labels, and answers GET /health when its
# model is loaded. Which one is var.image's; it must listen on the port of its
# environment variable PORT.
#
# It needs a GPU of 8 GB or more, and on each node max_kill_timeout of 2 min or
# more in the client's configuration.

variable "image" {
  type        = string
  description = "The server."
  default     = "registry.internal/recognizer:1"
}

variable "gpu_memory" {
  type        = string
  description = "The least memory of the GPU."
  default     = "7 GiB"
}

job "image-recognition" {
  type = "service" # the only type that Nomad keeps at zero and still scales

  group "server" {
    count = 0 # Pilotlight's

    # No deployments: with one open, Nomad refuses the next scale.
    update {
      max_parallel = 0
    }

    network {
      port "http" {}
    }

    # Pilotlight takes the path of this check and asks there itself.
    service {
      name     = "image-recognition"
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

    migrate {
      max_parallel     = 1
      healthy_deadline = "5m" # the policy's probe.max
    }

    # POST /recognize is not repeated once a replica may have seen it, unless the
    # caller gave it a key. So a replica that Nomad stops by itself goes on until
    # Pilotlight has learned of it and sends nothing more.
    shutdown_delay = "2s"

    task "recognizer" {
      driver = "docker"

      config {
        image = var.image
        ports = ["http"]
      }

      env {
        PORT = "${NOMAD_PORT_http}"
      }

      # As long as one request may take (request.timeout of the policy).
      kill_signal  = "SIGTERM"
      kill_timeout = "2m"

      logs {
        max_files     = 3
        max_file_size = 10 # MB
      }

      resources {
        cpu    = 2000 # MHz
        memory = 4096 # MiB; uploads are decoded in it

        device "nvidia/gpu" {
          count = 1

          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = var.gpu_memory
          }
        }
      }
    }
  }
}
