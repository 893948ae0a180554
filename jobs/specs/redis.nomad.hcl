# Redis for Pilotlight: what it holds must outlive a crash, so everything is
# appended to a file on a volume of the node, and nothing is ever evicted.
#
# One node, and only that one, has the volume; Redis stays with its data:
#
#   client {
#     host_volume "redis" {
#       path = "/srv/redis"             # owned by user 999 of the image
#     }
#     max_kill_timeout = "1m"
#   }
#
# The password is a Nomad variable, put there before the first start:
#
#   nomad var put nomad/jobs/redis password="$(openssl rand -hex 32)"
#
# A Redis that is lost with its node loses what is held. Where that is too much,
# run Redis with replicas and Sentinel instead, which Pilotlight reaches as
# redis+sentinel://….

variable "image" {
  type    = string
  default = "redis:8.2"
}

variable "appendfsync" {
  type        = string
  description = "always: what Pilotlight has accepted survives any crash. everysec: up to about 2 s of it may be lost with the machine; less work for the disk."
  default     = "always"

  validation {
    condition     = var.appendfsync == "always" || var.appendfsync == "everysec"
    error_message = "The variable appendfsync must be always or everysec."
  }
}

variable "maxmemory_mb" {
  type        = number
  description = "Held bodies lie in it: at least the sum of hold.max_bytes of the policies."
  default     = 1024
}

job "redis" {
  type = "service"

  # Its count is nobody's but this file's.
  meta {
    pilotlight = "not-scaled"
  }

  group "redis" {
    count = 1

    # Static, so that its address outlives a restart.
    network {
      port "redis" {
        static = 6379
      }
    }

    service {
      name     = "redis"
      provider = "nomad"
      port     = "redis"

      check {
        type     = "tcp"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # In place, on its data, and for ever: there is nowhere else to go.
    restart {
      interval = "1m"
      attempts = 10
      delay    = "2s"
      mode     = "delay"
    }

    # A deploy stops the old one before the new one opens its files.
    update {
      max_parallel     = 1
      min_healthy_time = "5s"
      healthy_deadline = "5m" # it reads the whole file first
    }

    volume "redis" {
      type   = "host"
      source = "redis"
    }

    shutdown_delay = "1s"

    task "redis" {
      driver = "docker"

      config {
        image = var.image
        ports = ["redis"]
        args  = ["redis-server", "/secrets/redis.conf"]
      }

      template {
        destination = "secrets/redis.conf"
        change_mode = "noop" # a new password takes a deploy
        uid         = 999    # of redis in the image
        gid         = 999
        perms       = "0400"

        data = <<EOT
port {{ env "NOMAD_PORT_redis" }}
bind 0.0.0.0
requirepass {{ with nomadVar "nomad/jobs/redis" }}{{ .password }}{{ end }}
dir /data

# Each write is on the disk before it is acknowledged (always), or within a
# second or two (everysec). The append-only file alone is what is read at a start.
appendonly yes
appendfsync ${var.appendfsync}
save ""

# An eviction would drop a held request, a slot or a lease. Full, Redis refuses
# to write instead, and Pilotlight says so.
maxmemory ${var.maxmemory_mb}mb
maxmemory-policy noeviction
EOT
      }

      volume_mount {
        volume      = "redis"
        destination = "/data"
      }

      # It writes out what it has.
      kill_signal  = "SIGTERM"
      kill_timeout = "1m"

      resources {
        cpu    = 1000                 # MHz
        memory = var.maxmemory_mb * 2 # MiB; a rewrite of the file copies what changes meanwhile
      }
    }
  }
}
