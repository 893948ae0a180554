# Pilotlight itself: two activators, two scalers (one acts, one stands by), and
# the web UI.
#
# Before the first start:
#
#   nomad var put nomad/jobs/pilotlight redis=redis://:PASSWORD@10.0.0.5:6379
#   nomad acl policy apply -namespace default -job pilotlight -group scaler \
#     -task pilotlight pilotlight pilotlight-policy.hcl   # beside this file; only where ACLs are on
#   nomad job run pilotlight.nomad.hcl
#
# and then `pilotlight policy apply -f policies/`, or the web UI.
#
# There are no access tokens yet, so Pilotlight serves loopback addresses only.
# It runs where a client has a host network of that name, and whoever is to reach
# it from elsewhere comes through a proxy with access control on the same machine:
#
#   client {
#     host_network "loopback" {
#       cidr = "127.0.0.0/8"
#     }
#     max_kill_timeout = "11m"          # above kill_timeout below; the default of 30 s cuts requests
#   }
#
# The proxy finds the activators in Nomad's service registry, for example in a
# template of its own job:
#
#   {{ range $i, $s := nomadService "pilotlight" }}
#   server a{{ $i }} {{ $s.Address }}:{{ $s.Port }} check
#   {{ end }}
#
# (HAProxy, change_mode = "signal"), with `option httpchk GET /readyz` and
# `retry-on conn-failure 503`. Both matter in an update: the registry lists an
# activator as soon as it runs, and a little after it has gone. Neither a refused
# connection nor a 503 of Pilotlight's own has executed anything. The proxy must
# follow the registry in less time than var.deregistered.

variable "driver" {
  type        = string
  description = "exec, or raw_exec where clients cannot isolate."
  default     = "exec"

  validation {
    condition     = var.driver == "exec" || var.driver == "raw_exec"
    error_message = "The variable driver must be exec or raw_exec."
  }
}

variable "binary" {
  type        = string
  description = "Where pilotlight is on the nodes."
  default     = "/usr/local/bin/pilotlight"
}

variable "jobs" {
  type        = string
  description = "Folder of job specs on the nodes, besides the shipped ones; empty: none."
  default     = ""
}

variable "nomad" {
  type        = string
  description = "Nomad's address as the scaler sees it: the client on its own node."
  default     = "http://127.0.0.1:4646"
}

variable "host_network" {
  type        = string
  description = "A host network of loopback addresses. `default` is one on a dev agent."
  default     = "loopback"
}

variable "deregistered" {
  type        = string
  description = "How long an activator goes on as before when it is no longer in the service registry. A minute is plenty for the proxy. An activator that is told to end answers 503 shutting-down to what it still holds: where no held request may see that, give the longest hold.max_wait of the policies."
  default     = "1m"
}

variable "grace" {
  type        = string
  description = "How long requests that have a slot may go on after that: the longest request.timeout of the policies. kill_timeout is longer."
  default     = "10m"
}

locals {
  # The binary reads PILOTLIGHT_REDIS. The variable is not there: the task waits
  # for it. A new value takes a deploy, not a restart of everything at once.
  redis = "PILOTLIGHT_REDIS={{ with nomadVar \"nomad/jobs/pilotlight\" }}{{ .redis }}{{ end }}\n"
}

job "pilotlight" {
  type = "service"

  # Its counts are nobody's but this file's.
  meta {
    pilotlight = "not-scaled"
  }

  # One after the other, each only when the last one has answered /readyz. A
  # version that does not is taken back.
  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "5s"
    healthy_deadline  = "2m"
    progress_deadline = "1h" # above var.deregistered + kill_timeout + healthy_deadline
    auto_revert       = true
  }

  reschedule {
    unlimited      = true
    delay          = "5s"
    delay_function = "constant"
  }

  # Two of a kind on one node would go with it.
  spread {
    attribute = "${node.unique.id}"
  }

  group "activator" {
    count = 2

    # New ones first, as many as there are: the old ones leave the registry when
    # the new ones are ready. It takes room for four. Without room an update waits
    # (progress_deadline), and the old ones go on; canary = 1 takes room for three.
    update {
      canary       = 2
      auto_promote = true
    }

    # A process that ends is started again where it was, for ever.
    restart {
      interval = "1m"
      attempts = 10
      delay    = "2s"
      mode     = "delay"
    }

    network {
      port "http" {
        host_network = var.host_network
      }
      port "metrics" {
        host_network = var.host_network
      }
    }

    # /readyz is 200 when requests can be taken: policies read, Redis reached.
    service {
      name     = "pilotlight"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "2s"
        timeout  = "2s"
      }
    }

    service {
      name     = "pilotlight-metrics"
      provider = "nomad"
      port     = "metrics"
      tags     = ["activator"]
    }

    # Out of the registry first; then, when the proxy sends nothing more, the
    # signal. No request meets a closed door.
    shutdown_delay = var.deregistered

    task "pilotlight" {
      driver = var.driver

      config {
        command = var.binary
        args = [
          "serve", "--role", "activator", "--log-json",
          "--data", "127.0.0.1:${NOMAD_PORT_http}",
          "--metrics", "127.0.0.1:${NOMAD_PORT_metrics}",
          "--grace", var.grace,
        ]
      }

      template {
        data        = local.redis
        destination = "secrets/redis.env"
        env         = true
        change_mode = "noop"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "10m30s" # above var.grace

      resources {
        cpu    = 500 # MHz
        memory = 512 # MiB; 40 KiB for each request held, and their bodies
      }
    }
  }

  group "scaler" {
    count = 2

    restart {
      interval = "1m"
      attempts = 10
      delay    = "2s"
      mode     = "delay"
    }

    network {
      port "metrics" {
        host_network = var.host_network
      }
    }

    service {
      name     = "pilotlight-metrics"
      provider = "nomad"
      port     = "metrics"
      tags     = ["scaler"]

      check {
        type     = "http"
        path     = "/readyz"
        interval = "2s"
        timeout  = "2s"
      }
    }

    shutdown_delay = "1s"

    task "pilotlight" {
      driver = var.driver

      # NOMAD_TOKEN of this task alone, made by Nomad: what it may do is in
      # pilotlight-policy.hcl. No token in this file, none on a disk of yours.
      identity {
        env = true
      }

      config {
        command = var.binary
        args = concat(
          [
            "serve", "--role", "scaler", "--log-json",
            "--metrics", "127.0.0.1:${NOMAD_PORT_metrics}",
            "--nomad", var.nomad,
          ],
          var.jobs == "" ? [] : ["--jobs", var.jobs],
        )
      }

      template {
        data        = local.redis
        destination = "secrets/redis.env"
        env         = true
        change_mode = "noop"
      }

      # It gives up its lease, and the other one takes over at once.
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      resources {
        cpu    = 200 # MHz
        memory = 256 # MiB
      }
    }
  }

  group "web" {
    count = 1

    restart {
      interval = "1m"
      attempts = 10
      delay    = "2s"
      mode     = "delay"
    }

    network {
      port "http" {
        host_network = var.host_network
      }
      port "metrics" {
        host_network = var.host_network
      }
    }

    service {
      name     = "pilotlight-web"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "2s"
        timeout  = "2s"
      }
    }

    shutdown_delay = "2s"

    task "pilotlight" {
      driver = var.driver

      config {
        command = var.binary
        args = concat(
          [
            "serve", "--role", "web", "--log-json",
            "--control", "127.0.0.1:${NOMAD_PORT_http}",
            "--metrics", "127.0.0.1:${NOMAD_PORT_metrics}",
          ],
          var.jobs == "" ? [] : ["--jobs", var.jobs],
        )
      }

      template {
        data        = local.redis
        destination = "secrets/redis.env"
        env         = true
        change_mode = "noop"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      resources {
        cpu    = 100 # MHz
        memory = 128 # MiB
      }
    }
  }
}
