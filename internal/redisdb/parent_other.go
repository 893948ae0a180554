//go:build !linux

package redisdb

import "syscall"

// dieWithParent keeps the terminal's Ctrl-C from the child. Only Linux can end
// it with its parent.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
