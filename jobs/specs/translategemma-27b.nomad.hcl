# TranslateGemma 27B on vLLM: one replica fills one 80 GB GPU (54 GB of weights
# in bf16, the rest for the KV cache).
#
# A cold start of a model this size takes six to eight minutes as it comes: the
# image, the weights, then compiling and capturing graphs. On a node that has run
# it before, with all of that kept on a host volume, it takes one and a half to
# three. So each GPU node needs
#
#   client {
#     host_volume "models" {
#       path = "/srv/models"            # local NVMe, 100 GB or more
#     }
#     max_kill_timeout = "10m"          # the default of 30 s would cut kill_timeout below
#   }
#   plugin "docker" { … }               # with the NVIDIA container runtime
#   plugin "nomad-device-nvidia" {}
#
# and, once, a Hugging Face token with access to the model in
# /srv/models/huggingface/token: no secret in this file, none in Nomad.

variable "vllm_version" {
  type        = string
  description = "Tag of the image. Pinned: another version compiles everything anew."
  default     = "v0.20.2"
}

variable "model" {
  type    = string
  default = "google/translategemma-27b-it"
}

locals {
  cache = "/models" # where the host volume is mounted in the container
}

job "translategemma-27b" {
  type = "service" # the only type that Nomad keeps at zero and still scales

  group "server" {
    # The count belongs to Pilotlight. A count here would come back with every
    # `nomad job run` of this file, and cost a GPU.
    count = 0

    # No deployments. With Nomad's default every scale that leaves a replica
    # opens one, and Nomad refuses the next scale until the new replica is
    # healthy: minutes, with a model like this.
    update {
      max_parallel = 0
    }

    # Dynamic, so that a node with several GPUs can run several replicas.
    network {
      port "http" {}
    }

    # vLLM answers /health only when the model is loaded. Pilotlight asks there
    # itself, much more often than this check does.
    service {
      name     = "translategemma-27b"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # A model that cannot load fails its allocation at once instead of trying
    # again in place, unseen, on a GPU that costs money. Nomad replaces it soon
    # and always; Pilotlight's launch brake decides when to stop trying.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      unlimited      = true
      delay          = "5s"
      delay_function = "constant"
    }

    volume "models" {
      type   = "host"
      source = "models"
    }

    # Pilotlight drains a replica before it stops it: there is nothing to wait for.
    shutdown_delay = "0s"

    task "model" {
      driver = "docker"

      config {
        image = "vllm/vllm-openai:${var.vllm_version}"
        ports = ["http"]
        args = [
          "--model", var.model,
          "--served-model-name", "translategemma-27b-it", var.model, # requests may use either name
          "--host", "0.0.0.0",
          "--port", "${NOMAD_PORT_http}",
          "--max-model-len", "4096", # the model reads about 2,000 tokens and writes as many
          "--gpu-memory-utilization", "0.92",
        ]
        image_pull_timeout = "30m"      # about 10 GB; Docker's 5 min are too short for a first pull
        shm_size           = 8589934592 # bytes
      }

      # What a first start computes, the next one finds again.
      env {
        HF_HOME                   = "${local.cache}/huggingface"
        VLLM_CACHE_ROOT           = "${local.cache}/vllm"
        TORCHINDUCTOR_CACHE_DIR   = "${local.cache}/torchinductor"
        TRITON_CACHE_DIR          = "${local.cache}/triton"
        FLASHINFER_WORKSPACE_BASE = "${local.cache}/flashinfer"
      }

      volume_mount {
        volume      = "models"
        destination = local.cache
      }

      # Longer than a drain (scale_down.drain_timeout of the policy, 5 min by
      # default): where Nomad stops the task by itself (a deploy, a node drain),
      # no translation is cut either.
      kill_signal  = "SIGTERM"
      kill_timeout = "6m"

      resources {
        cpu    = 8000  # MHz
        memory = 65536 # MiB; the weights pass through it on their way to the GPU

        device "nvidia/gpu" {
          count = 1

          # An 80 GB card reports a little less than 80 GiB.
          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "75 GiB"
          }
        }
      }
    }
  }
}
