package decide

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestQuietlyDecidesTheSameAndTellsNoInputs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolicy(t))
		var kept Memory
		live(t, w, func(Decision) {
			loud, m1 := Decide(w.now, w.p, 1, w.snap, kept)
			m2 := kept
			quiet := Quietly(w.now, w.p, 1, &w.snap, &m2)
			if quiet.Inputs != nil {
				t.Fatalf("it tells %v", quiet.Inputs)
			}
			if n := len(loud.Inputs); n == 0 || n > maxInputs-4 {
				t.Fatalf("%d inputs, with room for %d", n, maxInputs)
			}
			loud.Inputs = nil
			l := look{p: w.p}
			if !l.names(false) {
				loud.Signals.Up = quiet.Signals.Up
			}
			if !l.names(true) {
				loud.Signals.Down = quiet.Signals.Down
			}
			if diff := cmp.Diff(encodedJSON(t, loud), encodedJSON(t, quiet)); diff != "" {
				t.Fatalf("decisions differ:\n%s", diff)
			}
			if a, b := encodedMemory(t, m1), encodedMemory(t, m2); a != b {
				t.Fatalf("memories differ:\n%s\n%s", a, b)
			}
			kept = m1
		})
	})
}
