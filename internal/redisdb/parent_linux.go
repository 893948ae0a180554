package redisdb

import "syscall"

// dieWithParent ends the child when the thread that started it ends, also by
// kill -9 of this process; and keeps the terminal's Ctrl-C from it. At once: a
// server that still shut down would meet its successor in the same folder, and
// what it has answered is in the kernel's hands already.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
