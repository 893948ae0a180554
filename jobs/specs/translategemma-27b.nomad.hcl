# TranslateGemma 27B on vLLM: one replica fills one 80 GB GPU (54 GB of weights
# in bf16, the rest for the KV cache).
#
# A cold start of such a model takes six to eight minutes as it comes: the
# image, the weights, then compiling and capturing graphs. On a node that has run
# it before, with all of that kept on a host volume, it takes one and a half to
# three.
#
# Each GPU node needs
#
#   client {
#     host_volume "models" {
#       path = "/srv/models"            # local NVMe, 100 GB or more
#     }
#     max_kill_timeout = "10m"          # the default of 30 s would cut kill_timeout below
#   }
#   plugin "docker" { … }               # with the NVIDIA container runtime, volumes enabled
#   plugin "nomad-device-nvidia" {}
#
# The weights, with a manifest of their checksums, come from where var.weights
# says. To fill the host volume, once, on each node:
#
#   hf download google/translategemma-27b-it --local-dir /srv/models/translategemma-27b
#   cd /srv/models/translategemma-27b && find . -type f ! -path './.*' ! -name SHA256SUMS |
#     sort | xargs -d '\n' sha256sum > SHA256SUMS
#
# and to be sure of the manifest itself, give its own sha256 as
# var.manifest_sha256. An artifact is bounded by the clients' own limits, of which
# http_read_timeout (30 min by default) is the first to be met.

variable "image" {
  type        = string
  description = "The engine. Pinned: another version compiles everything anew."
  default     = "vllm/vllm-openai:v0.20.2"
}

variable "weights" {
  type        = string
  description = "Where the weights are: volume (the host volume), artifact (downloaded from var.weights_url at each start), image (in var.image, at /weights)."
  default     = "volume"

  validation {
    condition     = var.weights == "volume" || var.weights == "artifact" || var.weights == "image"
    error_message = "The variable weights must be volume, artifact or image."
  }
}

variable "weights_url" {
  type        = string
  description = "For weights = artifact: an archive that holds the files and SHA256SUMS at its root, on a server near the nodes."
  default     = "http://models.internal/translategemma-27b.tar"
}

variable "manifest_sha256" {
  type        = string
  description = "The sha256 of SHA256SUMS; empty: the manifest is believed."
  default     = ""
}

variable "verify" {
  type        = string
  description = "changed: hash the files of the host volume when one of them, or the manifest, has changed since they were last found right. always: at each start, some 20 s more."
  default     = "changed"
}

variable "tensor_parallel" {
  type        = number
  description = "GPUs of one replica."
  default     = 1
}

variable "gpu_memory" {
  type        = string
  description = "The least memory of each GPU."
  default     = "75 GiB"
}

locals {
  volume = "/models" # where the host volume is mounted in the containers
  dir    = var.weights == "volume" ? "/models/translategemma-27b" : var.weights == "artifact" ? "/alloc/data/weights" : "/weights"
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

    # Room for the weights, where they are downloaded.
    ephemeral_disk {
      size = var.weights == "artifact" ? 120000 : 1000 # MB
    }

    # Where Nomad stops the replica by itself (a deploy, a node drain), Pilotlight
    # learns of it in this time and sends nothing more. After a drain of
    # Pilotlight's own it is waited for in vain, so it is short.
    shutdown_delay = "2s"

    # The weights are checked before the engine starts: half a download loads for
    # minutes and then fails in words that do not say why.
    task "verify" {
      driver = "docker"

      lifecycle {
        hook = "prestart"
      }

      dynamic "artifact" {
        for_each = var.weights == "artifact" ? [var.weights_url] : []

        content {
          source      = artifact.value
          destination = "${NOMAD_ALLOC_DIR}/data/weights"
        }
      }

      config {
        image              = var.image # which the engine needs anyway
        entrypoint         = ["/bin/sh", "/local/verify.sh"]
        image_pull_timeout = "30m" # about 10 GB; Docker's 5 min are too short for a first pull
      }

      env {
        WEIGHTS         = local.dir
        MANIFEST_SHA256 = var.manifest_sha256
        VERIFY          = var.verify

        # Only a host volume outlives the allocation.
        REMEMBER = var.weights == "volume" ? "${local.volume}/.verified" : ""
      }

      template {
        destination = "local/verify.sh"

        data = <<EOT
#!/bin/sh
# Fails unless every file of the manifest is there and is what it was.
set -eu

broken() {
  echo "weights are broken: $1; put them into $WEIGHTS again" >&2
  exit 1
}

cd "$WEIGHTS" 2>/dev/null || broken "there is no folder $WEIGHTS"
[ -s SHA256SUMS ] || broken "there is no manifest SHA256SUMS"
if [ -n "$MANIFEST_SHA256" ]; then
  echo "$MANIFEST_SHA256  SHA256SUMS" | sha256sum --check --status ||
    broken "the manifest is not the one of var.manifest_sha256"
fi
while read -r sum file; do
  [ -f "$file" ] || broken "$file is missing"
done < SHA256SUMS

# What the files looked like when they were last found right: name, size, time.
seen=$(sed 's/^[^ ]*  //' SHA256SUMS | xargs -d '\n' stat -c '%n %s %Y' SHA256SUMS)
stamp=""
[ -z "$REMEMBER" ] || stamp="$REMEMBER/$(basename "$WEIGHTS")"
if [ "$VERIFY" = changed ] && [ -n "$stamp" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$seen" ]; then
  echo "weights are as they were when they were last verified"
  exit 0
fi

echo "verifying $(wc -l < SHA256SUMS) files in $WEIGHTS"
failed=$(xargs -d '\n' -n 1 -P 4 sh -c 'echo "$1" | sha256sum --check --quiet 2>/dev/null' sh < SHA256SUMS) ||
  broken "wrong checksum: $(echo "$failed" | sed -n 's/: FAILED.*//p' | sort | paste -s -d ' ' | grep . || echo a line of SHA256SUMS)"
if [ -n "$stamp" ]; then
  mkdir -p "$REMEMBER"
  new=$(mktemp "$stamp.XXXXXX") # another replica may be at the same point
  echo "$seen" > "$new"
  mv "$new" "$stamp"
fi
echo "weights are right"
EOT
      }

      volume_mount {
        volume      = "models"
        destination = local.volume
      }

      resources {
        cpu    = 4000 # MHz: four files are hashed at a time
        memory = 512  # MiB
      }
    }

    task "model" {
      driver = "docker"

      config {
        image = var.image
        ports = ["http"]
        args = [
          "--model", local.dir,
          "--served-model-name", "translategemma-27b-it", "google/translategemma-27b-it", # requests may use either name
          "--host", "0.0.0.0",
          "--port", "${NOMAD_PORT_http}",
          "--max-model-len", "4096", # the model reads about 2,000 tokens and writes as many
          "--gpu-memory-utilization", "0.92",
          "--tensor-parallel-size", "${var.tensor_parallel}",
        ]
        image_pull_timeout = "30m"
        shm_size           = 8589934592 # bytes; the processes of several GPUs talk through it
      }

      # What a first start computes, the next one finds again. Nothing is fetched
      # from elsewhere.
      env {
        HF_HUB_OFFLINE            = "1"
        VLLM_CACHE_ROOT           = "${local.volume}/.cache/vllm"
        TORCHINDUCTOR_CACHE_DIR   = "${local.volume}/.cache/torchinductor"
        TRITON_CACHE_DIR          = "${local.volume}/.cache/triton"
        FLASHINFER_WORKSPACE_BASE = "${local.volume}/.cache/flashinfer"
      }

      volume_mount {
        volume      = "models"
        destination = local.volume
      }

      # As long as a drain (scale_down.drain_timeout of the policy, 5 min by
      # default): where Nomad stops the task by itself, no request is cut either.
      kill_signal  = "SIGTERM"
      kill_timeout = "6m"

      # The last words of a model that fails to start are read from here.
      logs {
        max_files     = 3
        max_file_size = 10 # MB
      }

      resources {
        cpu    = 8000  # MHz
        memory = 65536 # MiB; the weights pass through it on their way to the GPU

        device "nvidia/gpu" {
          count = var.tensor_parallel

          # An 80 GB card reports a little less than 80 GiB.
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
