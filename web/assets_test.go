package web

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
)

func TestVendoredFilesAreThePublishedOnes(t *testing.T) {
	for name, want := range map[string]string{ // uPlot 1.6.32, from the npm registry
		"static/vendor/uPlot.esm.js":  "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba",
		"static/vendor/uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"static/vendor/uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		content, err := staticFiles.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		sum := sha256.Sum256(content)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: sha256 %s, want %s", name, got, want)
		}
	}
}

func TestFilesAreKeptForEverUnderTheirHashOnly(t *testing.T) {
	s, _, _ := newTestServer(t)
	if got := call(s, "GET", s.assets.base+"app.css", "").Header().Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("Cache-Control %q", got)
	}
	if got := call(s, "GET", "/static/000000000000/app.css", "").Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("under another hash: Cache-Control %q", got)
	}
}

var (
	imports  = regexp.MustCompile(`(?:from|import\()\s*'\./([^']+)'`)
	external = regexp.MustCompile(`https?://[a-z]`)
)

func TestModulesImportOnlyWhatIsEmbedded(t *testing.T) {
	s, _, _ := newTestServer(t)
	for name, file := range s.assets.files {
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		for _, found := range imports.FindAllStringSubmatch(string(file.plain), -1) {
			if _, there := s.assets.files[found[1]]; !there {
				t.Errorf("%s imports %s, which is not there", name, found[1])
			}
		}
		if found := external.FindString(strings.ReplaceAll(string(file.plain), "http://www.w3.org/2000/svg", "")); found != "" {
			t.Errorf("%s speaks of another host", name)
		}
	}
}
