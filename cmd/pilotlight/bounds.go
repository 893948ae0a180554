package main

import (
	"errors"
	"syscall"
)

// bounds of what clients may cost an activator, beside those of each policy.
type bounds struct {
	MaxConnections int `help:"Connections of clients at once on the data plane; idle ones are closed first, then new ones are refused with 503. Default: half of the files that the process may open, at most 65536." placeholder:"N"`
	MaxBodyMiB     int `name:"max-body-mib" default:"1024" help:"Bodies in memory over all services, in MiB; beyond that 429." placeholder:"MIB"`
}

// Validate says what is wrong with the flags.
func (b bounds) Validate() error {
	switch {
	case b.MaxConnections < 0:
		return errors.New("--max-connections must not be negative; 0 takes the default")
	case b.MaxBodyMiB < 1:
		return errors.New("--max-body-mib must be at least 1")
	}
	return nil
}

const (
	// filesKept are those that are needed beside clients' and replicas' connections.
	filesKept = 256
	// mostConnections by default: each that is held takes up to 40 KiB.
	mostConnections = 1 << 16
	// controlConnections of the control plane, and of the metrics.
	controlConnections = 1024
)

// connections that clients may have at once: each may need a second one, to a
// replica.
func (b bounds) connections() int {
	if b.MaxConnections > 0 {
		return b.MaxConnections
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return controlConnections
	}
	return int(min(max(int64(files.Cur)-filesKept, 2*64)/2, mostConnections))
}
