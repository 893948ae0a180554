package localfleet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// LockedError says that another live process owns the state directory.
type LockedError struct {
	Dir string
	PID int // of the owner, 0 if it has not said
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("state directory %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("state directory %s is in use by process %d", e.Dir, e.PID)
}

// LockDir makes this process the owner of dir, which must exist, until the lock
// is closed or the process is gone, in whatever way. Fleet.Run locks the Dir of
// its Config; a program with more state than that locks the directory above.
// Errors: a *LockedError, at once, or a directory that cannot be written.
func LockDir(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock state directory %s: %w", dir, err)
		}
		held := &LockedError{Dir: dir}
		if text, err := os.ReadFile(f.Name()); err == nil {
			held.PID, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return nil, held
	}
	if err := writeOwner(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	return f, nil
}

func writeOwner(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
