# Translation on a CPU, with the Apertium engine: the smallest whole example.
# Whatever is not written here has its default.
policy "translate" {
  description = "English and Spanish, by Apertium"

  # The Nomad job that runs it. Pilotlight sets its count, nobody else should.
  job = "translate-apertium"

  # Which requests are this service's: POST /translate and all below it.
  route {
    path_prefixes = ["/translate"]
  }

  # POST /translate is turned into what Apertium understands.
  translate {
    backend = "apertium"
  }

  # A replica gets requests once this path answers 200.
  probe {
    path = "/listPairs"
  }

  # From none to three replicas, with four requests at a time in each.
  replicas {
    min         = 0
    max         = 3
    concurrency = 4
  }

  # The last replica goes one minute after the last request. "auto" would weigh
  # what an idle replica costs against what a cold start does.
  to_zero {
    after = "1m"
  }
}
