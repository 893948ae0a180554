package queue

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAFirstAnswerThatIsLostOnItsWayComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, _ := w.activator("a")
		report := func(id string) jobs.FirstAnswer {
			a := jobs.FirstAnswer{Replica: id, RequestID: "r"}
			if err := q.FirstAnswer(t.Context(), "translate", a); err != nil {
				t.Fatal(err)
			}
			return a
		}
		read := func(l *Ledger, want ...jobs.FirstAnswer) {
			t.Helper()
			got, err := l.FirstAnswers(t.Context(), "translate")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		one := report("one")
		// Redis answers this call, and the answer goes nowhere.
		if err := firstsScript.Run(t.Context(), w.ledger.redis, []string{firstsKey("translate")}).Err(); err != nil {
			t.Fatal(err)
		}
		read(w.ledger, one)
		next := NewLedger(clientOf(t, w.redis), nil) // its reader is killed before it has told anybody
		read(next, one)
		two := report("two")
		read(next, two)
		read(next)
		read(w.ledger)
	})
}
