# Translation by TranslateGemma 4B on one 16GB GPU, kept at zero until asked.
policy "translategemma-4b" {
  description = "55 languages, by TranslateGemma 4B on vLLM"
  job         = "translategemma-4b"

  # POST /translate, and OpenAI-style requests that name the model.
  route {
    path_prefixes = ["/translate"]
    models        = ["translategemma-4b-it"]
  }

  # POST /translate becomes a call of /v1/completions with this model.
  translate {
    backend = "completions"
    model   = "google/translategemma-4b-it"
  }

  probe {
    path = "/health"
    max  = "10m"
  }

  replicas {
    min         = 0
    max         = 2
    concurrency = 16
  }

  cost {
    gpu = "1x 16GB"
  }
}
