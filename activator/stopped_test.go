package activator

import (
	"errors"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestACallerIsToldWhetherTheServiceIsPausedOrItsJobStopped(t *testing.T) {
	st := jobs.Status{State: jobs.StatePaused}
	if err := reasonToFail(st, time.Now()); !errors.Is(err, ErrPaused) {
		t.Errorf("paused by an operator: %v", err)
	}
	st.Notices = []jobs.Notice{{Kind: jobs.NoticeDrift}, {Kind: jobs.NoticeStopped}}
	err := reasonToFail(st, time.Now())
	if !errors.Is(err, ErrJobStopped) {
		t.Fatalf("stopped in Nomad: %v", err)
	}
	if k := kindOf(err); k.name != paused.name || k.status != paused.status || k.title != "the job is stopped in Nomad" {
		t.Errorf("problem %+v, want type paused with a title of its own", k)
	}
}
