package bench

import "testing"

func TestWhatHeldCallersAreToldIsCloserThanTheMedianLessWhatHasPassed(t *testing.T) {
	r, err := ETA(t.Context(), Config{})
	if err != nil || len(r.Ratios) != 12 {
		t.Fatalf("%+v %v", r, err)
	}
	for i, ratio := range r.Ratios { // the same numbers on every machine
		if covers := i%4 == 2; covers && (ratio.Value < 0.9 || ratio.Value > 1.1) || !covers && ratio.Value > 1 || i%4 == 3 && ratio.Value > 0.1 {
			t.Errorf("%+v", ratio)
		}
	}
}
