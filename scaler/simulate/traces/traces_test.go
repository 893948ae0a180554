package traces_test

import (
	"testing"

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
