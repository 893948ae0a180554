package scaler

import (
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAFleetThatIsSilentIsSaidToBeSoForItsReason(t *testing.T) {
	s := &service{seen: jobs.Observation{At: time.Now(), Silence: "connection refused"}, silent: true}
	if n := s.notices(time.Now()); len(n) != 1 || n[0].Text != s.silentWhy() || n[0].Kind != jobs.NoticeFleetSilent {
		t.Fatalf("notices %+v", n)
	}
	want := "the fleet has not been heard since " + s.seen.At.UTC().Format("15:04:05") + ": connection refused; what is shown is from then"
	if got := s.silentWhy(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
