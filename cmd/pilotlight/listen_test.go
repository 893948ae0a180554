package main

import (
	"errors"
	"strings"
	"testing"
)

func TestAListenerTakesTheURLThatItsClientsUse(t *testing.T) {
	for _, text := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0", "http://127.0.0.1:0", "http://127.0.0.1:0/", "http://localhost:0"} {
		l, err := listen("control plane", "control", text)
		if err != nil {
			if strings.Contains(text, "::1") { // a machine without IPv6
				continue
			}
			t.Errorf("--control %s: %v", text, err)
			continue
		}
		_ = l.Close()
	}
}

func TestAnAddressThatCannotBeServedIsWrongUse(t *testing.T) {
	for _, text := range []string{
		"", "127.0.0.1", "http://", "http://127.0.0.1", "127.0.0.1:no-port", "127.0.0.1:70000", "127.0.0.1:0/",
		"http://127.0.0.1:0/api", "http://127.0.0.1:0?x", "http://http://127.0.0.1:0", "https://127.0.0.1:0", "ftp://127.0.0.1:0",
		":0", "0.0.0.0:0", "http://0.0.0.0:0", "http://user@127.0.0.1:0", "http://example.com:0",
	} {
		l, err := listen("control plane", "control", text)
		if err == nil {
			_ = l.Close()
			t.Errorf("--control %q is served at %s", text, l.Addr())
			continue
		}
		if wrong := (usageError{}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "--control") {
			t.Errorf("--control %q: %v; want wrong use that names the flag", text, err)
		}
	}
}
