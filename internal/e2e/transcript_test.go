package e2e

import (
	"bytes"
	"regexp"
	"sync"
)

// transcript is what a process has said so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// greetingLine of dev, such as "  web UI    http://127.0.0.1:8081/".
var greetingLine = regexp.MustCompile(`^ +(requests|web UI|metrics) +(http://[^/]+)`)
