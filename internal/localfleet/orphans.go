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
	ours := func(dir string) bool { return strings.HasPrefix(dir, allocsDir+string(filepath.Separator)) }
	ctx, cancel := context.WithTimeout(ctx, orphanDeadline)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for first := true; ; first = false {
		left := killBelonging(ours) + killRecorded(allocsDir)
		if left == 0 {
			return nil
		}
		if first {
			log.Warn("ending processes that an earlier owner left behind", "count", left)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%d processes of an earlier owner of %s do not end: %w", left, allocsDir, ctx.Err())
		}
	}
}

// killRecorded kills the process groups that the pid files name, removes the
// files of those that are gone, and counts the others.
func killRecorded(allocsDir string) (left int) {
	files, err := filepath.Glob(filepath.Join(globQuoted(allocsDir), "*", "*.pid"))
	if err != nil {
		return 0
	}
	for _, file := range files {
		w, ok := readPIDFile(file)
		if start, alive := startTime(w.pid); ok && alive && start == w.start {
			killGroup(w.pid, w.start)
			left++
			continue
		}
		_ = os.Remove(file) // it names nobody; if it stays, it is looked at again
	}
	return left
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
