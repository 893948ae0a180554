package nomad

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Config says which Nomad to use and as whom. The package reads no
// environment: cmd passes on what NOMAD_ADDR and its like say.
type Config struct {
	// Address of a Nomad agent: http://host:port, https://host:port or
	// unix:///path. Default http://127.0.0.1:4646.
	Address string
	// Token is the ACL token's secret; "" is the anonymous one.
	Token string
	// Namespace of references that name none. Default "default".
	Namespace string
	// Region to talk to; "" is the agent's own.
	Region string

	// Username and Password for HTTP basic authentication by a proxy in front
	// of Nomad; "" sends none.
	Username string
	Password string

	// CACert is a PEM file, CAPath a directory of them, that the agent's
	// certificate is checked against; "" both: the system's.
	CACert string
	CAPath string
	// ClientCert and ClientKey are PEM files shown to the agent, both or none.
	ClientCert string
	ClientKey  string
	// TLSServerName expected in the agent's certificate; "" is the host's name.
	TLSServerName string
	// SkipVerify accepts any certificate.
	SkipVerify bool

	// Proxy between here and Nomad, as http.Transport has it; nil is none. Nomad's
	// own tools use http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)

	// OnCall is told of every HTTP call: its route is one of few names, such as
	// "job-scale"; status is 0 if there was no answer, and err says why, also that
	// the caller gave up; took is until the answer began, which of a blocking query
	// is its wait. nil tells nobody. It must not block, and is called concurrently.
	OnCall func(method, route string, status int, err error, took time.Duration)

	// Logger; nil logs nothing.
	Logger *slog.Logger
}

// Defaults returns the configuration of an agent on this machine.
func Defaults() Config {
	return Config{Address: "http://127.0.0.1:4646", Namespace: "default"}
}

// Validate reports everything that is wrong with the configuration. Empty
// fields that have a default are right.
func (c Config) Validate() error {
	var errs []error
	if c.Address != "" {
		u, err := url.Parse(c.Address)
		switch {
		case err != nil: // which shows the address, and so a password in it
			errs = append(errs, errors.New("nomad address cannot be read: allowed are http://host:port, https://host:port and unix:///path"))
		case u.Scheme == "unix" && u.Path != "":
		case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		default:
			errs = append(errs, fmt.Errorf("nomad address %q: allowed are http://host:port, https://host:port and unix:///path", u.Redacted()))
		}
	}
	if (c.ClientCert == "") != (c.ClientKey == "") {
		errs = append(errs, errors.New("nomad client certificate: the certificate and its key are needed, or neither"))
	}
	return errors.Join(errs...)
}

// filled returns c with its defaults in place of empty fields.
func (c Config) filled() Config {
	d := Defaults()
	if c.Address == "" {
		c.Address = d.Address
	}
	if c.Namespace == "" {
		c.Namespace = d.Namespace
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
