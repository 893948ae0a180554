package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestFullWindowsAreFullAndServicesAtRestAreSmall(t *testing.T) {
	memory := func(resting bool) float64 {
		t.Helper()
		var out bytes.Buffer
		if err := RunEvaluate(t.Context(), 200, resting, &out); err != nil {
			t.Fatal(err)
		}
		var e evaluated
		_, text, _ := strings.Cut(out.String(), "evaluated ")
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		if len(e.Seconds) != evaluateRounds {
			t.Errorf("%d rounds, want %d", len(e.Seconds), evaluateRounds)
		}
		return e.Memory
	}
	if full := memory(false); full < 10<<10 || full >= 64<<10 {
		t.Errorf("%v bytes remembered with full windows, want at least 10 KiB and below 64", full)
	}
	if rest := memory(true); rest > 4<<10 {
		t.Errorf("%v bytes remembered at rest, want at most 4 KiB", rest)
	}
}
