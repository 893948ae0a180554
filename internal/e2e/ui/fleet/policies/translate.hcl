# Real translations, back at zero soon after.
policy "translate" {
  description = "English and Spanish, by Apertium"
  job         = "translate-apertium"

  route {
    path_prefixes = ["/translate"]
  }
  translate {
    backend = "apertium"
  }
  probe {
    path = "/listPairs"
  }
  replicas {
    max         = 2
    concurrency = 4
  }
  to_zero {
    after = "5s"
  }
}
