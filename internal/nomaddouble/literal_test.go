package nomaddouble

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheParserKeepsWhatJobsSpecDoesNotRead(t *testing.T) {
	const source = `
variable "tag" {
  default = "v1" # of the image
}
job "translate" {
  datacenters = ["dc1", "dc2"]
  group "server" {
    constraint {
      attribute = "${node.class}"
      value     = "h100"
    }
    disconnect {
      lost_after = "1h"
      replace    = false
    }
    update {
      max_parallel     = 1
      min_healthy_time = "5s"
    }
    task "model" {
      driver = "docker"
      config {
        image = "vllm/vllm-openai:${var.tag}"
        ports = ["http"]
        command = "serve"
      }
      template {
        data = <<EOT
job "not" { count = 4 }
EOT
        destination = "x"
      }
      resources {
        cpu    = 8000
        memory = 64000
        device "nvidia/gpu" {
          count = 2
          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "40 GiB"
          }
        }
      }
    }
  }
}`
	inBubble(t, Config{}, func(t *testing.T, c *cluster) {
		hcl, err := json.Marshal(map[string]any{"JobHCL": source})
		if err != nil {
			t.Fatal(err)
		}
		var parsed json.RawMessage
		c.ask("PUT", "/v1/jobs/parse", string(hcl), &parsed)
		j, err := readJob(parsed)
		if err != nil {
			t.Fatal(err)
		}
		g := j.Groups[0]
		got := map[string]any{"datacenters": j.Datacenters, "constraints": g.Constraints, "lost": g.LostAfter.String(), "parallel": g.MaxParallel,
			"cpu": g.Tasks[0].CPU, "memory": g.Tasks[0].Memory, "devices": g.Tasks[0].Devices, "config": asMap(asList(g.doc["Tasks"])[0])["Config"]}
		want := map[string]any{
			"datacenters": []string{"dc1", "dc2"}, "constraints": []constraint{{"${node.class}", "h100", "="}}, "lost": "1h0m0s", "parallel": 1,
			"cpu": 8000, "memory": 64000,
			"devices": []deviceAsk{{Name: "nvidia/gpu", Count: 2, Constraints: []constraint{{"${device.attr.memory}", "40 GiB", ">="}}}},
			"config":  map[string]any{"image": "vllm/vllm-openai:v1", "ports": []any{"http"}, "command": "serve"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
