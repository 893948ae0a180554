# Translation by TranslateGemma 12B on one 40GB GPU, kept at zero until asked.
policy "translategemma-12b" {
  description = "55 languages, by TranslateGemma 12B on vLLM"
  job         = "translategemma-12b"

  # POST /translate, and OpenAI-style requests that name the model.
  route {
    path_prefixes = ["/translate"]
    models        = ["translategemma-12b-it"]
  }

  # POST /translate becomes a call of /v1/completions with this model.
  translate {
    backend = "completions"
    model   = "google/translategemma-12b-it"
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
    gpu = "1x 40GB"
  }
}
