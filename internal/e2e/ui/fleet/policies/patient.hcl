# Its model is never there, so that requests wait for it.
policy "patient" {
  description = "Whoever asks waits"
  job         = "patient"

  route {
    path_prefixes = ["/patient"]
    strip_prefix  = true
  }
  probe {
    max = "2h"
  }
  replicas {
    max = 1
  }
}
