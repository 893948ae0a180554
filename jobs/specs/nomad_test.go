package specs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs/specs"
)

// Nomad itself parses and validates every shipped spec, in each of the ways in
// which its variables shape it.
func TestARealNomadTakesEveryShippedSpec(t *testing.T) {
	addr := os.Getenv("NOMAD_ADDR")
	if addr == "" {
		t.Skip("NOMAD_ADDR is not set")
	}
	variants := map[string][]string{
		"weights": {"volume", "artifact", "image"},
		"driver":  {"exec", "raw_exec"},
	}
	for name, s := range shipped(t) {
		src, err := fs.ReadFile(specs.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		given := []string{""}
		for variable, values := range variants {
			if strings.Contains(string(src), `variable "`+variable+`"`) {
				for _, value := range values {
					given = append(given, variable+` = "`+value+`"`)
				}
			}
		}
		for _, variables := range given {
			var job json.RawMessage
			call(t, addr+"/v1/jobs/parse", map[string]any{"JobHCL": string(src), "Canonicalize": true, "Variables": variables}, &job)
			var verdict struct {
				ValidationErrors []string
				Error            string
			}
			call(t, addr+"/v1/validate/job", map[string]any{"Job": job}, &verdict)
			if len(verdict.ValidationErrors) > 0 || verdict.Error != "" {
				t.Errorf("%s with %q: %v %s", s.ID, variables, verdict.ValidationErrors, verdict.Error)
			}
		}
	}
}

func call(t *testing.T, url string, body, answer any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Nomad-Token", os.Getenv("NOMAD_TOKEN"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", url, resp.Status, said)
	}
	if err := json.Unmarshal(said, answer); err != nil {
		t.Fatal(err)
	}
}
