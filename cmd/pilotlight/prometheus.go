package main

import (
	"fmt"
	"net/url"

	"github.com/pilotlight/pilotlight/scaler"
)

// prometheusFlag names the server that a scaler asks for GPU utilization.
type prometheusFlag struct {
	Prometheus string `help:"Prometheus server that is asked the gpu.query of policies with gpu.source \"prometheus\"; with user:password@ if it wants them." placeholder:"URL"`
}

// server is nil if none is named. Its error does not repeat the flag's value,
// which may hold a password.
func (f prometheusFlag) server() (*url.URL, error) {
	if f.Prometheus == "" {
		return nil, nil
	}
	u, err := scaler.ParsePrometheus(f.Prometheus)
	if err != nil {
		return nil, usageError{fmt.Errorf("--prometheus: %w", err)}
	}
	return u, nil
}
