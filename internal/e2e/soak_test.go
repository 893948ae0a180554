package e2e

import (
	"cmp"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/soak"
)

var (
	soakFor  = flag.Duration("soak", 45*time.Second, "how long TestSoak loads and harms")
	soakDir  = flag.String("soak-dir", "", "an empty folder where TestSoak leaves all logs (default: a temporary one)")
	soakSeed = flag.Uint64("soak-seed", 1, "of TestSoak's load and faults")
)

// TestSoak is internal/soak: make soak runs it for longer.
func TestSoak(t *testing.T) {
	t.Parallel()
	skipIfShort(t)
	cfg := soak.Config{Binary: binary, Dir: cmp.Or(*soakDir, t.TempDir()), For: *soakFor, Seed: *soakSeed, Log: t.Logf}
	if cfg.For < time.Minute { // a part of the test suite, on a slow machine
		cfg.Pause, cfg.Clients = 8*time.Second, 32
	}
	err := soak.Run(t.Context(), cfg)
	if errors.Is(err, soak.ErrNoServer) {
		t.Skip("redis-server is missing (Debian: apt-get install redis-server)")
	}
	if err != nil {
		t.Error(err)
	}
}
