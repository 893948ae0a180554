package scaler

import (
	"testing"
	"time"
)

func TestEveryTickDecidesOnAnAnswerOfItsOwnHoweverFarTheLedgerIs(t *testing.T) {
	for _, far := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond} {
		t.Run(far.String(), func(t *testing.T) {
			play(t, policy(nil), func(t *testing.T, h *house) {
				h.ledger.set(func() { h.ledger.slow, h.ledger.work = far, time.Minute })
				h.ledger.ask(1)
				pass(10 * time.Second) // it is in its slot
				before := h.ledger.asked()
				pass(20 * time.Second)
				if n := h.ledger.asked() - before; n < 19 || n > 21 {
					t.Errorf("the demand was read %d times in 20 s, want one reading a second", n)
				}
			})
		})
	}
}
