# Pictures in, labels out: POST /recognize with multipart/form-data, kept at
# zero until somebody uploads.
policy "image-recognition" {
  description = "Labels for uploaded images"
  job         = "image-recognition"

  route {
    path_prefixes = ["/recognize"]
  }

  probe {
    max = "5m"
  }

  replicas {
    min         = 0
    max         = 2
    concurrency = 4
  }

  # Uploads wait with their bodies, so they are bounded by bytes first.
  hold {
    max_requests = 200
    max_body     = "20MiB"
    max_bytes    = "1GiB"
    max_wait     = "5m"
  }

  request {
    timeout    = "2m"
    first_byte = "2m"
  }

  # Without a key a caller may not expect an upload to be sent twice.
  retry {
    repeat = "keyed"
  }

  cost {
    gpu = "1x 8GB"
  }
}
