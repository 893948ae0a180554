//go:build !linux

package nomaddouble

import "syscall"

// attributes give a task a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
