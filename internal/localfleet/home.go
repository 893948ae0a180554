package localfleet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pilotlight/pilotlight/jobs"
)

// home is the name of an allocation and its directories.
type home struct {
	id  string
	dir string
}

func newHome(allocsDir string) *home {
	id := newAllocationID()
	return &home{id: id, dir: filepath.Join(allocsDir, id)}
}

func (h *home) sharedDir() string            { return filepath.Join(h.dir, "alloc") }
func (h *home) logsDir() string              { return filepath.Join(h.dir, "alloc", "logs") }
func (h *home) taskDir(t *jobs.Task) string  { return filepath.Join(h.dir, t.Name) }
func (h *home) localDir(t *jobs.Task) string { return filepath.Join(h.dir, t.Name, "local") }
func (h *home) logPath(t *jobs.Task, stream string) string {
	return filepath.Join(h.logsDir(), t.Name+"."+stream)
}

// makeDirs makes the directories that tasks of g expect, as far as they are not
// there.
func (h *home) makeDirs(g *jobs.Group) error {
	dirs := []string{h.dir, h.sharedDir(), h.logsDir()}
	for i := range g.Tasks {
		own := h.taskDir(&g.Tasks[i])
		dirs = append(dirs, own, h.localDir(&g.Tasks[i]), filepath.Join(own, "secrets"))
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make allocation directory: %w", err)
		}
	}
	return nil
}
