package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestConnectionsFitIntoTheFilesOfTheProcessUnlessSomebodyChose(t *testing.T) {
	if n := (bounds{}).connections(); n < 64 || n > mostConnections {
		t.Errorf("%d by default, want 64 to %d", n, mostConnections)
	}
	if n := (bounds{MaxConnections: 7}).connections(); n != 7 {
		t.Errorf("%d, want the 7 that were chosen", n)
	}
}

func TestBoundsThatCannotBeAreWrongUse(t *testing.T) {
	for _, args := range [][]string{{"--max-connections", "-1"}, {"--max-body-mib", "0"}} {
		var out, wrong bytes.Buffer
		code := run(append([]string{"serve", "--redis", "redis://127.0.0.1:1"}, args...), streams{out: &out, err: &wrong})
		if code != exitUsage || !strings.Contains(wrong.String(), args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, &wrong)
		}
	}
}
