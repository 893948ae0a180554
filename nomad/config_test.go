package nomad

import (
	"strings"
	"testing"
)

func TestConfigNamesEverythingThatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want []string // "" is right
	}{
		{"defaults", Defaults(), nil},
		{"nothing", Config{}, nil},
		{"https", Config{Address: "https://nomad.example:4646"}, nil},
		{"a socket", Config{Address: "unix:///run/nomad.sock"}, nil},
		{"no scheme", Config{Address: "nomad.example:4646"}, []string{"allowed are http://"}},
		{"no host", Config{Address: "http://"}, []string{"allowed are http://"}},
		{"two mistakes", Config{Address: "ftp://x", ClientCert: "cert.pem"}, []string{"allowed are http://", "client certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.cfg.Validate()
			if (err != nil) != (len(c.want) > 0) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q in it", err, w)
				}
			}
		})
	}
}

func TestNewReadsNoEnvironment(t *testing.T) {
	t.Setenv("NOMAD_ADDR", "http://somewhere.else:1")
	t.Setenv("NOMAD_NAMESPACE", "other")
	t.Setenv("NOMAD_TOKEN", "secret")
	f, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.client.Address(); got != Defaults().Address {
		t.Errorf("address: got %s", got)
	}
	if f.namespace != "default" {
		t.Errorf("namespace: got %s", f.namespace)
	}
}

func TestNewRefusesACertificateThatIsNotThere(t *testing.T) {
	if _, err := New(Config{CACert: "testdata/no-such-file.pem"}); err == nil {
		t.Error("got no error")
	}
}
