package redisdb

import "syscall"

// dieWithParent ends the child when the thread that started it ends, also by
// kill -9 of this process; and keeps the terminal's Ctrl-C from it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
