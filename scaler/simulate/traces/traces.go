// Package traces embeds the request traces that this folder describes (README.md),
// so that a policy can be tried on the demand of others before it has any of its
// own.
package traces

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

//go:embed *.csv.gz
var files embed.FS

const suffix = ".csv.gz"

// Names of the traces, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // embedded
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), suffix)
	}
	return names
}

// Length is how long a trace is.
type Length struct {
	Span     time.Duration // until its last request, rounded up
	Requests uint64
}

// lengths are for telling how far a replay is: a trace itself would have to be read
// to its end first.
var lengths = map[string]Length{
	"azure-llm-2023-code":    {3436 * time.Second, 8_819},
	"azure-llm-2023-conv":    {3502 * time.Second, 19_366},
	"mooncake-conversation":  {3537 * time.Second, 12_031},
	"sdsc-http-1995-minutes": {24 * time.Hour, 28_338},
	"servegen-day-night":     {345_580 * time.Second, 154_044},
	"servegen-office":        {1_209_286 * time.Second, 207_893},
	"servegen-sparse":        {1_209_598 * time.Second, 22_930},
}

// LengthOf returns how long a trace is; zero if there is none of that name.
func LengthOf(name string) Length { return lengths[name] }

// Open returns the gzipped text of a trace. Error: there is none of that name.
func Open(name string) (io.ReadCloser, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("there is no trace %q; allowed: %s", name, strings.Join(Names(), ", "))
	}
	return files.Open(name + suffix)
}
