package localfleet

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Config of a Fleet. Zero values mean the default of Defaults.
type Config struct {
	// Dir holds state and logs, and is locked by the Fleet that runs. Required.
	Dir string
	// WaitForOwner lets Run wait until the process that owns Dir is gone, instead of
	// a *LockedError: for a scaler that stands by.
	WaitForOwner bool
	// Logger; default: discards.
	Logger *slog.Logger
	// PortMin and PortMax bound the loopback ports handed out, both included;
	// default 20000 to 32000, as in Nomad.
	PortMin, PortMax int
	// MaxAllocations that may have a process at once, over all groups; default 64.
	MaxAllocations int
	// Region, Datacenter and Node as tasks see them; default "global", "dc1" and
	// the host's name.
	Region, Datacenter, Node string
	// Bin is what the task command "pilotlight" resolves to; default this program.
	Bin string
	// Env is what every task's environment starts from, before the NOMAD_
	// variables and the task's own env; see BaseEnv. PATH, HOME and LANG are
	// filled in if missing. Nothing else of the owner's environment reaches a task.
	Env map[string]string
	// LogBytes is the size at which a log file is moved aside (one older file is
	// kept for each stream); default 10 MiB.
	LogBytes int64
}

const (
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	// pastAllocations is how many terminal allocations of a group are remembered,
	// and their directories kept.
	pastAllocations = 20
)

// Defaults returns c with its zero values filled in.
func (c Config) Defaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.PortMin == 0 {
		c.PortMin = 20000
	}
	if c.PortMax == 0 {
		c.PortMax = 32000
	}
	if c.MaxAllocations == 0 {
		c.MaxAllocations = 64
	}
	if c.Region == "" {
		c.Region = "global"
	}
	if c.Datacenter == "" {
		c.Datacenter = "dc1"
	}
	if c.Node == "" {
		c.Node = "local"
		if host, err := os.Hostname(); err == nil {
			c.Node = host
		}
	}
	if c.Bin == "" {
		if bin, err := os.Executable(); err == nil {
			c.Bin = bin
		}
	}
	if c.LogBytes == 0 {
		c.LogBytes = 10 << 20
	}
	c.Env = maps.Clone(c.Env)
	if c.Env == nil {
		c.Env = map[string]string{}
	}
	for name, value := range map[string]string{"PATH": defaultPath, "HOME": "/", "LANG": "C.UTF-8"} {
		if c.Env[name] == "" {
			c.Env[name] = value
		}
	}
	return c
}

// Validate returns every fault of c at once, each with its field.
func (c Config) Validate() error {
	var faults []error
	wrong := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	switch {
	case c.Dir == "":
		wrong("Dir", "missing; a directory for state and logs is needed")
	case strings.ContainsAny(c.Dir, "\n\x00"):
		wrong("Dir", "%q contains a line end", c.Dir)
	}
	if c.PortMin < 1 || c.PortMax > 65535 || c.PortMin > c.PortMax {
		wrong("PortMin, PortMax", "%d to %d; allowed is a range within 1 to 65535", c.PortMin, c.PortMax)
	}
	if c.MaxAllocations < 1 {
		wrong("MaxAllocations", "%d; allowed is 1 or more", c.MaxAllocations)
	}
	if !filepath.IsAbs(c.Bin) {
		wrong("Bin", "%q is not an absolute path", c.Bin)
	}
	if c.LogBytes < 4096 {
		wrong("LogBytes", "%d; allowed is 4096 or more", c.LogBytes)
	}
	return errors.Join(faults...)
}

// BaseEnv picks from an environment (as of os.Environ) what every task may
// inherit: PATH, HOME, LANG and TZ. Keys and tokens of the owner stay with it.
func BaseEnv(environ []string) map[string]string {
	env := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "PATH", "HOME", "LANG", "TZ":
			env[name] = value
		}
	}
	return env
}
