# Translation on a CPU: Apertium, a rule-based engine, behind its own HTTP
# server. It starts in a third of a second, which makes it the workload to try
# Pilotlight with. Debian: apt install apertium-apy apertium-eng-spa
#
# The same file serves `pilotlight dev` and a real Nomad whose clients enable
# raw_exec.
job "translate-apertium" {
  type = "service" # the only type that Nomad keeps at zero and still scales

  group "server" {
    # The count belongs to Pilotlight. A count here would come back with every
    # `nomad job run` of this file.
    count = 0

    # No deployments. With Nomad's default every scale that leaves a replica
    # opens one, and Nomad refuses the next scale until it is over.
    update {
      max_parallel = 0
    }

    # Dynamic, so that several replicas fit on one node. Pilotlight sends
    # requests to the port with this label.
    network {
      port "http" {}
    }

    # Not needed for routing: Pilotlight takes the address from the allocation
    # and asks the replica itself. It asks at the path of this check.
    service {
      name     = "translate-apertium"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/listPairs"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # An engine that cannot start fails its allocation at once. Nomad replaces
    # it soon and always; Pilotlight's launch brake decides when to stop trying.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      unlimited      = true
      delay          = "5s"
      delay_function = "constant"
    }

    task "apertium" {
      driver = "raw_exec"

      config {
        command = "apertium-apy"
        args    = ["-p", "${NOMAD_PORT_http}", "-j1", "/usr/share/apertium"]
      }

      # The engine refuses to start in a locale without UTF-8.
      env {
        LC_ALL = "C.UTF-8"
      }

      # Where Nomad stops the task by itself (a deploy, a node drain), requests
      # in flight have this long; an idle engine ends at once. A Nomad client
      # cuts it to its own max_kill_timeout, 30 s by default.
      kill_signal  = "SIGTERM"
      kill_timeout = "5m"

      resources {
        cpu    = 500 # MHz
        memory = 512 # MiB
      }
    }
  }
}
