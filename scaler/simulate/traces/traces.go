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

// Open returns the gzipped text of a trace. Error: there is none of that name.
func Open(name string) (io.ReadCloser, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("there is no trace %q; allowed: %s", name, strings.Join(Names(), ", "))
	}
	return files.Open(name + suffix)
}
