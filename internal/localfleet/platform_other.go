//go:build !linux

package localfleet

import (
	"errors"
	"syscall"
)

// Elsewhere than on Linux there is no tie between the life of a child and that
// of its owner: the package builds, and Run says that it cannot.
func supported() error {
	return errors.New("the local fleet needs Linux: it could not make sure that no process outlives its owner")
}

const self = ""

func childAttributes() *syscall.SysProcAttr             { return &syscall.SysProcAttr{} }
func awaitExit(int)                                     {}
func startTime(int) (ticks uint64, ok bool)             { return 0, false }
func stopped(int, uint64) bool                          { return false }
func killBelonging(func(taskDir string) bool) []watched { return nil }
