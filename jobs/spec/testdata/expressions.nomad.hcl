# What a Nomad 2.0 agent makes of this file is in TestParseEvaluatesAsNomadDoes.
variable "n" {
  default = "3"
  type    = number
}

locals {
  first  = "x-${local.second}"
  second = upper("${var.n}${NOMAD_REGION}")
}

job "expressions" {
  group "g" {
    count = var.n

    task "t" {
      driver = "raw_exec"

      config {
        command = "/bin/echo"
        args = [
          "${NOMAD_PORT_http}",
          "$${NOMAD_ALLOC_ID}",
          "${env["HOME"]}",
          "${attr.unique.network.ip-address}",
          var.n,
          true,
          local.first,
          "${meta.x}/${meta.y.z}",
        ]
      }

      kill_timeout = 7000000000

      env {
        HEREDOC   = <<-EOT
          one ${var.n}
            two ${NOMAD_TASK_DIR}
          EOT
        JOINED    = join(",", ["a", "b"])
        DIRECTIVE = "%{if var.n > 2}big%{else}small%{endif}"
        BARE      = NOMAD_META_x
        NUMBER    = 1.5
        JSON      = jsonencode({ a = [1, "${node.class}"] })
        ESCAPES   = "$$x $${foo} %%{if}"
        FORMAT    = format("%03d-%s", var.n, "q")
        CHANGED   = "${upper(attr.cpu.arch)}"
        INDEXED   = "${meta["a-b"]}"
        TRIED     = try(var.n.x, "fallback")
        REVERSED  = reverse("abc")
        LOOP      = join("", [for x in ["a", "b"] : upper(x) if x != "b"])
      }

      resources {
        device "gpu" {}
        device "nvidia/gpu/1080" {
          count = 2
        }
        device "xilinx/fpga" {}
      }
    }
  }
}
