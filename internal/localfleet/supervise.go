package localfleet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// supervisorName is the name (argv[0]) under which the program runs as its own
// supervisor. A name cannot be typed by accident, as an argument could, and is
// not inherited by children, as an environment variable would be.
const supervisorName = "pilotlight-supervisor"

// Words of the pipe between an owner and its supervisor; one line each.
const (
	wordReady   = "ready"        // supervisor → owner, once
	formatWatch = "+ %d %d %s\n" // owner → supervisor: pid, start time, value of taskDirVariable
	formatDone  = "- %d\n"       // owner → supervisor: pid was reaped
)

// MaybeSupervise returns at once in an ordinary process. In one that a Fleet
// started as its supervisor it watches over that Fleet's children until their
// owner is gone, kills those that are left, and exits.
//
// The main function of every program that runs a Fleet calls it before anything
// else, and so does TestMain of a test that does.
func MaybeSupervise() {
	if len(os.Args) == 0 || os.Args[0] != supervisorName {
		return
	}
	// It ends when its owner does, not when somebody signals the whole session.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	fmt.Println(wordReady)
	left := readWatched(os.Stdin)
	killWatched(left)
	os.Exit(0)
}

// watched is a child as its supervisor knows it.
type watched struct {
	pid   int
	start uint64
	dir   string // value of taskDirVariable
}

// readWatched follows an owner's lines until the pipe ends and returns the
// children that the owner has not reaped.
func readWatched(r io.Reader) map[int]watched {
	children := map[int]watched{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var w watched
		line := lines.Text()
		if _, err := fmt.Sscanf(line, "+ %d %d", &w.pid, &w.start); err == nil {
			w.dir = strings.SplitN(line, " ", 4)[3]
			children[w.pid] = w
		} else if _, err := fmt.Sscanf(line, "- %d", &w.pid); err == nil {
			delete(children, w.pid)
		}
	}
	return children
}

// killWatched kills the process groups of children, and everything that carries
// their environment.
func killWatched(children map[int]watched) {
	dirs := map[string]bool{}
	for _, w := range children {
		dirs[w.dir] = true
		killGroup(w.pid, w.start)
	}
	ctx, cancel := context.WithTimeout(context.Background(), orphanDeadline)
	defer cancel()
	_, _ = endAll(ctx, func() []watched { // whom could it tell?
		return killBelonging(func(dir string) bool { return dirs[dir] })
	})
}

// killGroup kills the process group led by pid, unless that number has been
// given to another process since: the kernel does not reuse a number while a
// group has it, so then nobody is left of the group.
func killGroup(pid int, start uint64) {
	if now, alive := startTime(pid); alive && now != start {
		return
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // an error means that nobody is left
}
