package soak

import (
	"errors"
	"fmt"
	"time"
)

// Config of a soak.
type Config struct {
	Binary  string        // the pilotlight to run; job specs call it by the name "pilotlight"
	Dir     string        // an empty folder for everything that the processes write
	For     time.Duration // of load and faults
	Settle  time.Duration // within which everything must be over after that; default 3 min
	Pause   time.Duration // longest SIGSTOP; the shortest is 5 s; default 30 s
	Clients int           // at work at once; default 40
	Seed    uint64        // of plan and load
	// Log gets a line for each fault, and the figures. It is called from several
	// goroutines. Default: nowhere.
	Log func(format string, args ...any)
}

// Defaults fills what is not set.
func (c *Config) Defaults() {
	if c.Settle == 0 {
		c.Settle = 3 * time.Minute
	}
	if c.Pause == 0 {
		c.Pause = 30 * time.Second
	}
	if c.Clients == 0 {
		c.Clients = 40
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
}

// Validate says what is missing or out of range.
func (c *Config) Validate() error {
	var errs []error
	if c.Binary == "" || c.Dir == "" {
		errs = append(errs, errors.New("soak: Binary and Dir are required"))
	}
	if c.For < 10*time.Second {
		errs = append(errs, fmt.Errorf("soak: For is %s, want at least 10s", c.For))
	}
	if c.Pause < shortestPause {
		errs = append(errs, fmt.Errorf("soak: Pause is %s, want at least %s", c.Pause, shortestPause))
	}
	return errors.Join(errs...)
}

const (
	activators = 3
	scalers    = 2

	// attempts is retry.attempts of every service.
	attempts = 3
	// requestTimeout is request.timeout of every service: how long the slots of a
	// dead activator may be in quarantine.
	requestTimeout = 15 * time.Second
)
