package localfleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// onlyHome waits until the fleet's state holds exactly one allocation's directories,
// and its group knows them as those of its next allocation, whose id it returns.
func (r *running) onlyHome() (id string) {
	r.t.Helper()
	eventually(r.t, "directories made ahead", func() error {
		r.mu.Lock()
		spare := r.groups[testRef].spare
		r.mu.Unlock()
		if spare == nil {
			return errors.New("none")
		}
		id = spare.id
		entries, err := os.ReadDir(r.allocsDir())
		if err != nil {
			return err
		}
		if len(entries) != 1 || entries[0].Name() != id {
			return fmt.Errorf("%v, want %s alone", entries, id)
		}
		return nil
	})
	return id
}

func TestAnAllocationMovesIntoDirectoriesMadeAhead(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	id := r.onlyHome()
	r.scale(1)
	a := r.one("a running task", isRunning)
	if a.ID != id {
		t.Errorf("allocation %s was placed, directories were made for %s", a.ID, id)
	}
}

func TestDirectoriesMadeAheadMayVanish(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	id := r.onlyHome()
	if err := os.RemoveAll(filepath.Join(r.allocsDir(), id)); err != nil {
		t.Fatal(err)
	}
	r.scale(1)
	r.one("a running task", isRunning)
}

func TestDirectoriesThatNobodyUsedGoWithTheFleet(t *testing.T) {
	r := startFleet(t, nil)
	r.ensure(testSpec("server", nil))
	unused := filepath.Join(r.allocsDir(), r.onlyHome())
	r.stop()
	if _, err := os.Stat(unused); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", unused, err)
	}
}
