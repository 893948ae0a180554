# Edited by several people, woken by nobody.
policy "drafts" {
  description = "Nobody asks for it"
  job         = "stub"

  route {
    path_prefixes = ["/drafts"]
  }
  replicas {
    max         = 2
    concurrency = 8
  }
  to_zero {
    after = "10m"
  }
}
