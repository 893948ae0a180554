package queue

import (
	"slices"
	"testing"
	"time"
)

// An activator is cut off for longer than its lease while one request of its own
// runs, and another waits; when it comes back it holds nothing, and Redis has
// forgotten who waits.
func TestOneThatComesBackWithNothingButWaitersAsksForThemAgain(t *testing.T) {
	cut := []op{
		{Kind: "try", N: 2}, {Kind: "hold", N: 1}, {Kind: "restart"}, {Kind: "hold", N: 1},
		{Kind: "bury", N: 1, M: 1}, {Kind: "end"},
	}
	back := []op{{Kind: "mend"}, {Kind: "hold", N: 1}, {Kind: "hold"}, {Kind: "hold", N: 1}, {Kind: "submit", M: 1}}
	for name, ops := range map[string][]op{
		"and it is told so":       back,
		"and the answer is lost":  slices.Insert(slices.Clone(back), 1, op{Kind: "lose", N: 1}),
		"and two answers are":     slices.Insert(slices.Clone(back), 1, op{Kind: "lose", N: 1, M: 1}),
		"and nobody else is busy": {{Kind: "mend"}, {Kind: "lose", N: 1}, {Kind: "advance", D: 3 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			if err, done := play(t, slices.Concat(cut, ops)); err != nil {
				t.Fatalf("after %d events: %v", done, err)
			}
		})
	}
}
