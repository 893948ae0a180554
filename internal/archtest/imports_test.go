package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pilotlight/pilotlight/"

// layers says what of this module each package may import, by prefix. A package
// that matches no line may import nothing of it.
var layers = []struct {
	pkg     string
	imports []string
}{
	{"jobs/spec", []string{"jobs"}},
	{"jobs/specs", nil},
	{"jobs/eta", []string{"jobs"}},
	{"jobs", nil},
	{"policies/examples", nil},
	{"policies/storetest", []string{"jobs", "policies"}},
	{"policies", []string{"jobs", "internal/subscribe"}},
	{"scaler/decide", []string{"jobs", "policies"}},
	{"scaler/history", []string{"jobs", "scaler/decide", "internal/subscribe"}},
	{"scaler/lease", nil},
	{"scaler/simulate/traces", nil},
	{"scaler/simulate", []string{"jobs", "policies", "scaler/decide"}},
	{"scaler", []string{"jobs", "jobs/eta", "policies", "scaler/decide", "scaler/history", "scaler/lease"}},
	{"activator/queue", []string{"jobs", "internal/subscribe"}},
	{"activator/translate", nil},
	{"activator/front", nil},
	{"activator", []string{"jobs", "jobs/eta", "policies", "activator/front", "activator/queue", "activator/translate"}},
	{"nomad", []string{"jobs"}},
	{"internal/localfleet", []string{"jobs"}},
	{"web", []string{"jobs", "policies", "scaler/decide", "scaler/simulate", "scaler/simulate/traces"}},
	{"cmd/pilotlight", []string{""}},
	{"internal/subscribe", nil},
	{"internal", []string{""}},
}

// homes of modules that only some packages may use.
var homes = map[string]string{
	"github.com/hashicorp/nomad/api":           "nomad",
	"github.com/labstack/echo/v4":              "web",
	"github.com/alecthomas/kong":               "cmd/pilotlight",
	"github.com/alicebob/miniredis/v2":         "internal/redisdb internal/redistest",
	"github.com/hashicorp/hcl/v2":              "policies jobs/spec",
	"github.com/prometheus/common/expfmt":      "scaler",
	"github.com/cockroachdb/datadriven":        "",
	"pgregory.net/rapid":                       "internal/fleettest",
	"github.com/rogpeppe/go-internal":          "cmd/pilotlight",
	"github.com/HdrHistogram/hdrhistogram-go":  "internal/loadgen internal/bench scaler/simulate",
	"github.com/hashicorp/cronexpr":            "policies scaler/decide",
	"github.com/cenkalti/backoff/v4":           "activator/queue policies nomad scaler web internal",
	"github.com/prometheus/client_golang/prom": "activator scaler cmd/pilotlight internal web",
}

// banned names: what lives there cannot be told from them.
var banned = []string{"util", "utils", "common", "types", "helpers", "manager", "models", "misc"}

type goPackage struct {
	ImportPath string
	Doc        string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found", len(all))
	}
	return all
}

func under(pkg, prefix string) bool {
	return prefix == "" || pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

func TestPackagesImportOnlyTheLayersBelowThem(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := []string(nil), false
		for _, l := range layers {
			if under(name, l.pkg) {
				allowed, known = l.imports, true
				break
			}
		}
		if !known {
			t.Errorf("%s has no place in the house: add it to the layers", name)
		}
		for _, i := range p.Imports {
			dep, own := strings.CutPrefix(i, module)
			if own && !under(dep, name) && !slices.ContainsFunc(allowed, func(a string) bool { return a == "" || a == dep }) {
				t.Errorf("%s must not import %s", name, dep)
			}
		}
	}
}

func TestModulesAreUsedOnlyWhereTheyBelong(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			for mod, home := range homes {
				if !strings.HasPrefix(i, mod) {
					continue
				}
				if !slices.ContainsFunc(strings.Fields(home), func(h string) bool { return under(name, h) }) {
					t.Errorf("%s must not import %s; it belongs to %q", name, i, home)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsForAndIsNamedForIt(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if p.Doc == "" {
			t.Errorf("%s has no package comment", name)
		}
		for part := range strings.SplitSeq(name, "/") {
			if slices.Contains(banned, part) {
				t.Errorf("%s: %q does not say what lives there", name, part)
			}
		}
	}
}
