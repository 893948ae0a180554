package nomaddouble

import "syscall"

// attributes give a task a process group of its own, and its end with ours.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
