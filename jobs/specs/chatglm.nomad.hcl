# ChatGLM3 6B on vLLM: 12.5 GB of weights in bf16, on a GPU of 24 GB or more.
#
# Each GPU node needs
#
#   client {
#     host_volume "models" {
#       path = "/srv/models"            # local NVMe, 30 GB or more
#     }
#     max_kill_timeout = "10m"          # the default of 30 s would cut kill_timeout below
#   }
#   plugin "docker" { … }               # with the NVIDIA container runtime, volumes enabled
#   plugin "nomad-device-nvidia" {}
#
# and, once, the weights:
#
#   hf download zai-org/chatglm3-6b --local-dir /srv/models/chatglm3-6b
#
# vLLM's own /metrics say nothing of the GPU. A policy that scales by
# gpu_utilization takes it from Nomad, gpu { source = "nomad" }, or from a DCGM
# exporter on each node, gpu { source = "metrics", port = 9400 } on lines of
# their own.

variable "image" {
  type        = string
  description = "The engine. Pinned: another version compiles everything anew."
  default     = "vllm/vllm-openai:v0.20.2"
}

variable "model" {
  type        = string
  description = "Folder of the weights in the host volume; also the name that requests may use."
  default     = "chatglm3-6b"
}

variable "gpu_memory" {
  type        = string
  description = "The least memory of the GPU."
  default     = "22 GiB"
}

job "chatglm" {
  type = "service" # the only type that Nomad keeps at zero and still scales

  group "server" {
    # The count belongs to Pilotlight, also where a policy's min is not 0.
    count = 0

    # No deployments: with one open, Nomad refuses the next scale.
    update {
      max_parallel = 0
    }

    network {
      port "http" {}
    }

    # Pilotlight takes the path of this check and asks there itself.
    service {
      name     = "chatglm"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # A model that cannot load fails its allocation at once; Nomad replaces it
    # soon and always, until Pilotlight's launch brake ends it.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      unlimited      = true
      delay          = "5s"
      delay_function = "constant"
    }

    # A node drain goes on to the next replica when the last one's replacement
    # has loaded, which may take as long as the policy's probe.max.
    migrate {
      max_parallel     = 1
      healthy_deadline = "15m"
    }

    volume "models" {
      type   = "host"
      source = "models"
    }

    # Where Nomad stops the replica by itself, Pilotlight learns of it in this
    # time and sends nothing more.
    shutdown_delay = "2s"

    task "model" {
      driver = "docker"

      config {
        image = var.image
        ports = ["http"]
        args = [
          "--model", "/models/${var.model}",
          "--served-model-name", var.model,
          "--trust-remote-code", # the tokenizer is code that comes with the weights
          "--host", "0.0.0.0",
          "--port", "${NOMAD_PORT_http}",
          "--max-model-len", "8192",
          "--gpu-memory-utilization", "0.90",
        ]
        image_pull_timeout = "30m"      # about 10 GB; Docker's 5 min are too short for a first pull
        shm_size           = 2147483648 # bytes
      }

      # What a first start computes, the next one finds again. Nothing is fetched
      # from elsewhere.
      env {
        HF_HUB_OFFLINE            = "1"
        VLLM_CACHE_ROOT           = "/models/.cache/vllm"
        TORCHINDUCTOR_CACHE_DIR   = "/models/.cache/torchinductor"
        TRITON_CACHE_DIR          = "/models/.cache/triton"
        FLASHINFER_WORKSPACE_BASE = "/models/.cache/flashinfer"
      }

      volume_mount {
        volume      = "models"
        destination = "/models"
      }

      # As long as a drain (scale_down.drain_timeout of the policy).
      kill_signal  = "SIGTERM"
      kill_timeout = "6m"

      logs {
        max_files     = 3
        max_file_size = 10 # MB
      }

      resources {
        cpu    = 4000  # MHz
        memory = 16384 # MiB

        device "nvidia/gpu" {
          count = 1

          # A 24 GB card reports a little less than 24 GiB.
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
