// Package localfleet runs allocations as child processes of this machine: what
// a Nomad client does for the raw_exec and exec drivers, without Nomad. It
// implements the scaler's Fleet contract and passes its conformance suite
// (internal/fleettest).
//
// # What is as in Nomad
//
// Allocations are named job.group[N]; a rising count fills the lowest free
// indices, a falling one stops the highest, blind to health. A task that ends by
// itself, with whatever exit code, is restarted in place (same id, same address)
// as the restart block says, then the allocation has failed and is replaced (new
// id, same index) as the reschedule block says. Ports come from the group's
// network block, and environment, commands and arguments see the NOMAD_
// variables. The kill signal, and SIGKILL after kill_timeout, go to the whole
// process group.
//
// # What is not
//
// exec isolates nothing: it is raw_exec by another name. There are no GPUs, no
// artifacts, no templates, no health checks and no other drivers. Of lifecycle
// hooks only prestart is run, always to completion. Jobs live as long as the
// Fleet: nothing but logs outlives it, and a new owner starts with no jobs.
//
// # Who ends the children
//
// Three lines of defence, because a GPU process nobody owns costs money and
// answers requests that nobody should send it:
//
//  1. Run, when its context ends: kill signal, kill_timeout, SIGKILL, join.
//  2. If the owner dies without that, even by SIGKILL: the kernel kills each
//     direct child (Pdeathsig; the death of the thread that forked counts, hence
//     one thread, locked, forks them all), and the supervisor, a second process
//     of the same binary that reads a pipe from the owner, kills their process
//     groups and whatever else carries their environment when the pipe ends. The
//     program's main must call MaybeSupervise first thing, and so must TestMain.
//  3. If both die at once: the next owner of the same Dir finds the children by
//     the pid files and by their environment, and ends them before it places
//     anything. A flock on Dir makes two owners at once impossible. An owner that
//     is stopped (SIGSTOP, a debugger) neither works nor lets go: who waits for
//     the directory then puts another lock file in the place of its own, ends its
//     children, and it starts nothing when it runs on, before it owns the directory
//     again.
//
// Owners that wait for each other (Config.WaitForOwner) own the directory only
// while they are commanded: one whose scaler does not lead any more stands down.
//
// # State
//
//	Dir/lock                              flock; holds the owner's pid and start time
//	Dir/allocs/ID/TASK.pid                pid and start time of the running process
//	Dir/allocs/ID/TASK/                   working directory; local/ and secrets/ in it
//	Dir/allocs/ID/alloc/logs/TASK.stdout  and TASK.stderr, with one older file each
//
// Fleet.mu guards memory only: no system call that can block is made under it.
// One goroutine (Run) places; one goroutine per allocation lives its life and
// alone changes its client state; one (keepHouse) removes the directories that
// are forgotten and makes those of each group's next allocation, so that a wake
// waits for neither.
package localfleet
