package nomad

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/nomad/api"
)

// Deadlines of single calls, on top of whatever the caller's context says:
// Nomad's own client has none.
const (
	readTimeout  = 7 * time.Second // a server without a leader says so after 5 s
	writeTimeout = 10 * time.Second
	// retryFor is how long after the first try another one may begin: long enough
	// for one after a write that was never answered.
	retryFor = 15 * time.Second
	// maxConns: Nomad refuses a source address its 101st connection, and a
	// stream and a blocking query each hold one. A third is for the streams of
	// maxScopes namespaces, one for nodes' statistics, one for everything else.
	maxConns = 24
)

// newHTTPClient returns the one HTTP client of a Fleet. It has no timeout of
// its own because streams and blocking queries share it.
func newHTTPClient(cfg Config) (*http.Client, error) {
	dialer := &net.Dialer{Timeout: readTimeout, KeepAlive: 15 * time.Second}
	transport := &http.Transport{
		Proxy:               cfg.Proxy,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: readTimeout,
		MaxConnsPerHost:     maxConns,
		MaxIdleConnsPerHost: maxConns,
		IdleConnTimeout:     60 * time.Second,
	}
	if u, err := url.Parse(cfg.Address); err == nil && u.Scheme == "unix" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", u.Path)
		}
	}
	client := &http.Client{Transport: transport}
	err := api.ConfigureTLS(client, &api.TLSConfig{
		CACert:        cfg.CACert,
		CAPath:        cfg.CAPath,
		ClientCert:    cfg.ClientCert,
		ClientKey:     cfg.ClientKey,
		TLSServerName: cfg.TLSServerName,
		Insecure:      cfg.SkipVerify,
	})
	if err != nil {
		return nil, fmt.Errorf("nomad tls: %w", err)
	}
	return client, nil
}

func newClient(cfg Config, httpClient *http.Client) (*api.Client, error) {
	c := &api.Config{
		Address:    cfg.Address,
		Region:     cfg.Region,
		SecretID:   cfg.Token,
		HttpClient: counted(httpClient, cfg.OnCall),
	}
	if cfg.Username != "" {
		c.HttpAuth = &api.HttpBasicAuth{Username: cfg.Username, Password: cfg.Password}
	}
	client, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("nomad client: %w", err)
	}
	return client, nil
}

// read runs one GET under its own deadline.
func read(ctx context.Context, namespace string, call func(*api.QueryOptions) error) error {
	limited, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return inWords(ctx, call((&api.QueryOptions{Namespace: namespace}).WithContext(limited)), readTimeout)
}

// write runs one PUT under its own deadline.
func write(ctx context.Context, namespace string, call func(*api.WriteOptions) error) error {
	limited, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return inWords(ctx, call((&api.WriteOptions{Namespace: namespace}).WithContext(limited)), writeTimeout)
}

// retrying calls try until it succeeds, fails for good (backoff.Permanent),
// retryFor has passed or ctx has ended. Its error is then what Nomad answered
// last: that a deadline has passed tells nobody what is wrong.
func retrying(ctx context.Context, try func() error) error {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 20 * time.Millisecond
	b.MaxInterval = time.Second
	b.MaxElapsedTime = retryFor
	var (
		last  error
		final bool
		began = time.Now()
	)
	err := backoff.Retry(func() error {
		err := try()
		if status, _ := answered(err); status != 0 {
			last = err
		}
		_, final = errors.AsType[*backoff.PermanentError](err)
		return err
	}, backoff.WithContext(b, ctx))
	switch {
	case err == nil || final || !passing(err) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case last == nil:
		last = err
	}
	return fmt.Errorf("given up after %v: %w", time.Since(began).Round(100*time.Millisecond), last)
}

// unlessPassing marks errors that do not pass by themselves as final.
func unlessPassing(err error) error {
	if err == nil || passing(err) {
		return err
	}
	return backoff.Permanent(err)
}
