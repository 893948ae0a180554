# One replica with one slot, and a threshold that is never reached: whoever wants
# more has to edit this.
policy "chat" {
  description = "Pretended chat, for bursts"
  job         = "quick"

  route {
    path_prefixes = ["/chat"]
    strip_prefix  = true
  }
  replicas {
    max         = 1
    concurrency = 1
  }
  sizing {
    mode = "thresholds"
  }
  scale_up {
    window = "5s"
    demand = 50
  }
  to_zero {
    after = "5s"
  }
}
