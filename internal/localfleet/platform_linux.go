package localfleet

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// supported is nil where children can be tied to the life of their owner.
func supported() error { return nil }

// self is the running program, also if its file was replaced or removed since.
const self = "/proc/self/exe"

// childAttributes give a child a session of its own, and with it a process
// group of its own, and its death with the thread that started it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit blocks until child pid has ended and leaves it a zombie, so that its
// pid, and the process group of that number, still cannot mean anything else.
// Of a child that was not waited for it cannot fail.
func awaitExit(pid int) {
	const (
		byPID  = 1          // P_PID
		exited = 4          // WEXITED
		keep   = 0x01000000 // WNOWAIT
	)
	for {
		if _, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), 0, exited|keep, 0, 0); errno != syscall.EINTR {
			return
		}
	}
}

// startTime is when process pid started, in clock ticks since boot: with the
// pid it names a process for ever (until the next boot). ok is false if there is
// no such process or it is a zombie.
func startTime(pid int) (ticks uint64, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The name, in parentheses, may contain anything; fields are counted behind it
	// (proc_pid_stat(5): state is field 3, starttime field 22).
	_, behind, found := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte{' '})
	fields := bytes.Fields(behind)
	if !found || len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, false
	}
	ticks, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return ticks, err == nil
}

// belonging returns the live processes, other than this one, whose environment
// says that they belong to a task with a directory that fits.
func belonging(fits func(taskDir string) bool) []int {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err == nil && pid != os.Getpid() && belongs(pid, fits) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func belongs(pid int, fits func(taskDir string) bool) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false // ended, or another user's
	}
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if dir, ok := strings.CutPrefix(string(entry), taskDirVariable+"="); ok && fits(dir) {
			return true
		}
	}
	return false
}

// killBelonging kills what belonging returns, and returns it by pid and start
// time; they may take a moment to be gone.
func killBelonging(fits func(taskDir string) bool) []watched {
	var killed []watched
	for _, pid := range belonging(fits) {
		// The handle is taken first and the environment read again through the same
		// number: a pid that has meanwhile been given to a stranger is not hit.
		process, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if start, alive := startTime(pid); alive && belongs(pid, fits) {
			_ = process.Kill() // an error means that it is gone
			killed = append(killed, watched{pid: pid, start: start})
		}
		_ = process.Release()
	}
	return killed
}

// stopped reports whether a process, named by pid and start time, was stopped by
// a signal or a debugger.
func stopped(pid int, start uint64) bool {
	if now, alive := startTime(pid); !alive || now != start {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	behind := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(behind) > 0 && (behind[0][0] == 'T' || behind[0][0] == 't')
}
