package history_test

import (
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
	"github.com/pilotlight/pilotlight/scaler/history"
)

func TestWhatAShadowDecidedIsKeptOnlyWhileItIsSet(t *testing.T) {
	h := open(t)
	entry := func(id string, epoch int64) history.Entry {
		return history.Entry{Service: "a", Epoch: epoch, Shadow: &history.ShadowEntry{ID: id, Standing: jobs.ShadowStanding{At: noon, Wanted: 2},
			Steps: []jobs.ShadowStep{{At: noon, Wanted: 2, Live: 1}}, Decisions: []decide.Decision{{Service: "a", At: noon, From: 1, To: 2}}}}
	}
	kept := func() (standing bool, steps, decisions int) {
		t.Helper()
		_, st, err := h.Shadow(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		s, err := h.ShadowSteps(t.Context(), "a", 0)
		if err != nil {
			t.Fatal(err)
		}
		d, err := h.ShadowDecisions(t.Context(), "a", 0)
		if err != nil {
			t.Fatal(err)
		}
		return st != nil, len(s), len(d)
	}
	write(t, h, entry("one", 1)) // none is set
	if st, s, d := kept(); st || s+d > 0 {
		t.Errorf("without a shadow %v, %d steps and %d decisions are kept", st, s, d)
	}
	if err := h.SetShadow(t.Context(), "a", jobs.Shadow{ID: "one", Text: "…"}); err != nil {
		t.Fatal(err)
	}
	write(t, h, entry("one", 1))
	write(t, h, entry("one", 1)) // repeated after a lost answer
	if st, s, d := kept(); !st || s != 1 || d != 1 {
		t.Errorf("of the shadow %v, %d steps and %d decisions are kept; want one each", st, s, d)
	}
	claimed, err := h.Claim(t.Context(), "a", 5)
	if err != nil || claimed.Shadow == nil || claimed.Shadow.ID != "one" {
		t.Errorf("the next scaler is told of %+v, %v", claimed.Shadow, err)
	}
	if epoch, fenced := history.Fenced(h.Write(t.Context(), entry("one", 1))); !fenced || epoch != 5 {
		t.Error("a scaler that leads no more writes on")
	}
	if err := h.SetShadow(t.Context(), "a", jobs.Shadow{ID: "two", Text: "…"}); err != nil {
		t.Fatal(err)
	}
	write(t, h, entry("one", 5)) // late
	if st, s, d := kept(); st || s+d > 0 {
		t.Errorf("of the shadow before %v, %d steps and %d decisions are kept", st, s, d)
	}
}
