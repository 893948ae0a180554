package traces_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/scaler/simulate"
	"github.com/pilotlight/pilotlight/scaler/simulate/traces"
)

func TestEveryTraceOpensByItsNameAndOthersDoNot(t *testing.T) {
	names := traces.Names()
	if len(names) < 5 {
		t.Fatalf("there are %v", names)
	}
	for _, name := range names {
		f, err := traces.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		trace, err := simulate.NewTrace(f, name, simulate.DefaultDurations(), 1)
		if err == nil {
			_, err = trace.Next()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = f.Close()
	}
	for _, name := range []string{"", "nothing", "../traces", "README.md"} {
		if _, err := traces.Open(name); err == nil {
			t.Errorf("%q opens", name)
		}
	}
}

func TestEveryTraceIsAsLongAsIsSaid(t *testing.T) {
	for _, name := range traces.Names() {
		f, err := traces.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		trace, err := simulate.NewTrace(f, name, simulate.DefaultDurations(), 1)
		if err != nil {
			t.Fatal(err)
		}
		var n uint64
		var last time.Duration
		for {
			r, err := trace.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n, last = n+1, r.At
		}
		_ = f.Close()
		said := traces.LengthOf(name)
		if n != said.Requests || last > said.Span || said.Span-last > time.Minute {
			t.Errorf("%s has %d requests over %v, and is said to have %d over %v", name, n, last, said.Requests, said.Span)
		}
	}
}
