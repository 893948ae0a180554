# Translation by TranslateGemma 27B on one 80 GB GPU, kept at zero until asked.
policy "translategemma-27b" {
  description = "55 languages, by TranslateGemma 27B on vLLM"
  job         = "translategemma-27b"

  # POST /translate, and OpenAI-style requests that name the model.
  route {
    path_prefixes = ["/translate"]
    models        = ["translategemma-27b-it"]
  }

  # POST /translate becomes a call of /v1/completions with this model.
  translate {
    backend = "completions"
    model   = "google/translategemma-27b-it"
  }

  # Loading 54 GB of weights takes minutes; a replica that does not answer after
  # fifteen has failed to start.
  probe {
    path = "/health"
    max  = "15m"
  }

  replicas {
    min         = 0
    max         = 2
    concurrency = 8
  }

  # What is paid for a replica, busy or idle.
  cost {
    gpu          = "1x 80GB"
    usd_per_hour = 2.50
  }
}
