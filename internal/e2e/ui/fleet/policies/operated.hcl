# Nobody asks for it: its count is what operators say.
policy "operated" {
  description = "Commanded by hand"
  job         = "operated"

  route {
    path_prefixes = ["/operated"]
    strip_prefix  = true
  }
  replicas {
    max         = 3
    concurrency = 1
  }
  to_zero {
    after = "10m"
  }
}
