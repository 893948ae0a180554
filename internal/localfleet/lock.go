package localfleet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// LockedError says that another live process owns the state directory.
type LockedError struct {
	Dir string
	PID int // of the owner, 0 if it has not said

	start uint64 // of the owner, as startTime says; 0 if it has not said
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("state directory %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("state directory %s is in use by process %d", e.Dir, e.PID)
}

// dirLock is the ownership of a directory: a lock on the file that its path
// names. The owner loses it when the path names another file.
type dirLock struct {
	*os.File
	path string
}

// lockPath is the file that the owner of a directory has locked.
func lockPath(dir string) string { return filepath.Join(dir, "lock") }

// LockDir makes this process the owner of dir, which must exist, until the lock
// is closed or the process is gone, in whatever way. Fleet.Run locks the Dir of
// its Config; a program with more state than that locks the directory above.
// Errors: a *LockedError, at once, or a directory that cannot be written.
func LockDir(dir string) (io.Closer, error) {
	l, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func lockDir(dir string) (*dirLock, error) {
	for {
		l, err := lockFile(dir, lockPath(dir))
		if err != nil {
			return nil, err
		}
		if l.held() == nil {
			return l, nil
		}
		_ = l.Close() // it was put aside while it was opened (takeOver)
	}
}

// lockFile locks one file and writes into it whose it is.
func lockFile(dir, path string) (*dirLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock state directory %s: %w", dir, err)
		}
		held := &LockedError{Dir: dir}
		if text, err := os.ReadFile(path); err == nil {
			_, _ = fmt.Sscanf(strings.TrimSpace(string(text)), "%d %d", &held.PID, &held.start)
		}
		return nil, held
	}
	if err := writeOwner(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	return &dirLock{f, path}, nil
}

func writeOwner(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	start, _ := startTime(os.Getpid()) // where it cannot be told nobody takes over either
	_, err := f.WriteAt(fmt.Appendf(nil, "%d %d\n", os.Getpid(), start), 0)
	return err
}

var errTakenOver = errors.New("the state directory was taken over by another process while this one was stopped")

// held returns nil while this process owns the directory.
func (l *dirLock) held() error {
	mine, err := l.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(l.path)
	if err != nil || !os.SameFile(mine, now) {
		return errTakenOver
	}
	return nil
}

// takeOver makes this process the owner in place of one that is stopped, and so
// neither works nor lets go: another lock file takes the place of its own. When
// it runs on it finds that out before it starts anything (held). nil if somebody
// else was faster, or the owner is another one by now.
func takeOver(from *LockedError) (*dirLock, error) {
	// One at a time: to replace the lock of who has just taken over would make two.
	turn, err := os.OpenFile(lockPath(from.Dir)+".takeover", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("take over the state directory: %w", err)
	}
	defer turn.Close()
	if err := syscall.Flock(int(turn.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, nil
	}
	present, err := lockDir(from.Dir)
	if held := (*LockedError)(nil); err == nil || !errors.As(err, &held) || *held != *from {
		return present, err
	}
	path := lockPath(from.Dir) + ".new"
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("take over the state directory: %w", err)
	}
	l, err := lockFile(from.Dir, path)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(path, lockPath(from.Dir)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("take over the state directory: %w", err)
	}
	l.path = lockPath(from.Dir)
	return l, nil
}
