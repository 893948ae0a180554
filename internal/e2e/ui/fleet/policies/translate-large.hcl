# The wake that the tests watch phase by phase.
policy "translate-large" {
  description = "Pretended translations by a model that takes its time"
  job         = "large"

  route {
    path_prefixes = ["/large"]
    strip_prefix  = true
  }
  replicas {
    max         = 1
    concurrency = 4
  }
  to_zero {
    after = "20s"
  }
}
