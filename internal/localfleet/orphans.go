package localfleet

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// pidFile of a task: pid and start time of its running process.
func pidFile(allocDir, task string) string { return filepath.Join(allocDir, task+".pid") }

func writePIDFile(path string, w watched) error {
	return os.WriteFile(path, fmt.Appendf(nil, "%d %d\n", w.pid, w.start), 0o600)
}

func readPIDFile(path string) (w watched, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return w, false
	}
	n, err := fmt.Sscanf(string(text), "%d %d", &w.pid, &w.start)
	return w, err == nil && n == 2
}

// orphanDeadline is how long killed orphans may take to go.
const orphanDeadline = 10 * time.Second

// endOrphans kills what earlier owners of allocsDir left running and waits until
// it is gone. Only the owner of the directory may call it.
func endOrphans(ctx context.Context, allocsDir string, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, orphanDeadline)
	defer cancel()
	ours := func(dir string) bool { return strings.HasPrefix(dir, allocsDir+string(filepath.Separator)) }
	ended, err := endAll(ctx, func() []watched { return append(killBelonging(ours), killRecorded(allocsDir)...) })
	if ended > 0 {
		log.Warn("ended processes that an earlier owner left behind", "count", ended)
	}
	if err != nil {
		return fmt.Errorf("end processes of an earlier owner of %s: %w", allocsDir, err)
	}
	return nil
}

// endAll calls kill until it finds nothing to kill and what it has killed is
// gone: a process gives up its environment, by which it is found, well before
// its ports. It returns how many were killed.
func endAll(ctx context.Context, kill func() []watched) (ended int, err error) {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	leaving := map[watched]bool{}
	for {
		found := kill()
		for _, w := range found {
			leaving[watched{pid: w.pid, start: w.start}] = true
		}
		left := 0
		for w := range leaving {
			if start, alive := startTime(w.pid); alive && start == w.start {
				left++
			}
		}
		if len(found) == 0 && left == 0 {
			return len(leaving), nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return len(leaving), fmt.Errorf("%d processes do not end: %w", left, ctx.Err())
		}
	}
}

// killRecorded kills the process groups that the pid files name, returns their
// leaders, and removes the files of those that are gone.
func killRecorded(allocsDir string) (killed []watched) {
	files, err := filepath.Glob(filepath.Join(globQuoted(allocsDir), "*", "*.pid"))
	if err != nil {
		return nil
	}
	for _, file := range files {
		w, ok := readPIDFile(file)
		if start, alive := startTime(w.pid); ok && alive && start == w.start {
			killGroup(w.pid, w.start)
			killed = append(killed, w)
			continue
		}
		_ = os.Remove(file) // it names nobody; if it stays, it is looked at again
	}
	return killed
}

// globQuoted keeps filepath.Glob from reading a directory's name as a pattern.
func globQuoted(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// pruneDirs removes the directories of earlier owners' allocations but the
// newest keep.
func pruneDirs(allocsDir string, keep int) error {
	entries, err := os.ReadDir(allocsDir)
	if err != nil {
		return err
	}
	age := func(e os.DirEntry) time.Time {
		if info, err := e.Info(); err == nil {
			return info.ModTime()
		}
		return time.Time{}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return age(b).Compare(age(a)) })
	for _, e := range entries[min(keep, len(entries)):] {
		if err := os.RemoveAll(filepath.Join(allocsDir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
