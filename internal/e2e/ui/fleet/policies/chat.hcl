# One replica with one slot: whoever wants more has to edit this.
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
  scale_up {
    demand = 50
  }
  to_zero {
    after = "5s"
  }
}
