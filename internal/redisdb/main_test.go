package redisdb_test

import (
	"os"
	"testing"

	"github.com/pilotlight/pilotlight/internal/redistest"
)

func TestMain(m *testing.M) {
	redistest.Silence()
	os.Exit(m.Run())
}
