package queue

import (
	"flag"
	"os"
	"testing"

	"github.com/pilotlight/pilotlight/internal/redistest"
)

// sequences of random events that the model is held to unless the command line
// says otherwise: each is some seconds of work for the race detector.
const sequences = "25"

func TestMain(m *testing.M) {
	redistest.Silence()
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "rapid.checks" })
	if !told {
		if err := flag.Set("rapid.checks", sequences); err != nil {
			panic(err) // the flag is rapid's
		}
	}
	os.Exit(m.Run())
}
