package nomad

import (
	"net/http"
	"strconv"
	"strings"
)

// FromEnvironment returns the configuration that Nomad's own tools read from
// their environment, NOMAD_ADDR and so on, over the defaults. env is os.Getenv
// where that may be called.
func FromEnvironment(env func(string) string) Config {
	c := Defaults()
	c.Proxy = http.ProxyFromEnvironment
	for name, to := range map[string]*string{
		"NOMAD_ADDR":            &c.Address,
		"NOMAD_TOKEN":           &c.Token,
		"NOMAD_NAMESPACE":       &c.Namespace,
		"NOMAD_REGION":          &c.Region,
		"NOMAD_CACERT":          &c.CACert,
		"NOMAD_CAPATH":          &c.CAPath,
		"NOMAD_CLIENT_CERT":     &c.ClientCert,
		"NOMAD_CLIENT_KEY":      &c.ClientKey,
		"NOMAD_TLS_SERVER_NAME": &c.TLSServerName,
	} {
		if v := env(name); v != "" {
			*to = v
		}
	}
	if v := env("NOMAD_HTTP_AUTH"); v != "" {
		c.Username, c.Password, _ = strings.Cut(v, ":")
	}
	// What is no truth value is ignored, as they do.
	c.SkipVerify, _ = strconv.ParseBool(env("NOMAD_SKIP_VERIFY"))
	return c
}
