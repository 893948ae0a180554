package decide

import "testing"

// batches is a quarter of an hour in which n requests come at once each minute and
// each is served for two seconds, on replicas that are there.
func batches(n int) Peakedness {
	var p Peakedness
	for s := range int64(15 * 60) {
		demand := 0.0
		if s%60 < 2 {
			demand = float64(n)
		}
		p = p.observe(s/60, 100, 0, demand, float64(n)*2/60)
	}
	return p
}

func TestRequestsThatComeAtOnceArePeakedAsTheyAreMany(t *testing.T) {
	for _, n := range []int{8, 30, 55} {
		if z := batches(n).z(); z < 0.9*float64(n) || z > float64(n) {
			t.Errorf("z = %.1f where %d come at once", z, n)
		}
	}
	if z := batches(1000).z(); z != maxZ {
		t.Errorf("z = %.1f where a thousand come at once, want %g: it is bounded", z, maxZ)
	}
}
