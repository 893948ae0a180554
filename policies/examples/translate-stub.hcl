# The translate service on the scripted model server, which only pretends: for
# trying Pilotlight where Apertium cannot be installed.
policy "translate" {
  description = "Pretended translations, by the stub"

  job = "stub"

  route {
    path_prefixes = ["/translate"]
  }

  # The stub answers POST /translate itself.
  translate {
    backend = "passthrough"
  }

  replicas {
    max         = 3
    concurrency = 4
  }

  to_zero {
    after = "1m"
  }
}
