# A chat model under steady load, scaled by thresholds alone: up if ANY signal
# has been above its mark for a minute, down if ALL have been below their lower
# marks for two, one replica at a time, never fewer than two.
policy "chatglm" {
  description = "ChatGLM3 6B, scaled by latency, GPU and demand"
  job         = "chatglm"

  route {
    models = ["chatglm3-6b"]
  }

  replicas {
    min = 2
    max = 6
  }

  sizing {
    mode   = "thresholds"
    every  = "30s"
    sample = "10s"
  }

  scale_up {
    window          = "1m"
    cooldown        = "0s"
    max_step        = 1
    latency_mean    = "5s" # time in the replica, without the hold
    gpu_utilization = 85   # percent, mean over the ready replicas
    demand          = 50   # in flight and held, per ready replica
  }

  # The gap between the two sets of marks keeps the count from swinging.
  scale_down {
    window          = "2m"
    cooldown        = "0s"
    max_step        = 1
    latency_mean    = "2s"
    gpu_utilization = 40
    demand          = 20
  }

  # Nomad's own statistics of the replica's GPU. An engine does not know how busy
  # its GPU is: vLLM's /metrics, for one, has nothing of it.
  gpu {
    source = "nomad"
  }
}
