package policies

import "testing"

func TestTheNumberBeforeTheXIsHowManyGPUsAReplicaTakes(t *testing.T) {
	for text, want := range map[string]int{
		"1x 80GB": 1, "2x 80GB": 2, "8 x H200": 8, "16×A100": 16, "4X": 4,
		"": 1, "80GB": 1, "x 80GB": 1, "H200 2x": 1, "0x 80GB": 1, "2.5x": 1, "99999999999999999999x": 1024,
	} {
		p := New("a")
		p.Cost = &Cost{GPU: text}
		if got := p.GPUs(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := New("a").GPUs(); got != 1 {
		t.Errorf("no cost: %d, want 1", got)
	}
}
