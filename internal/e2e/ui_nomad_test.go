package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
)

// TestUIOverNomad runs the specs of ui/nomad.spec.js: what the pages show of a
// Nomad in which others act, too. It is the double, with one node that has one
// GPU, of which nothing is measured.
func TestUIOverNomad(t *testing.T) {
	skipIfShort(t)
	needForUI(t)
	server := startRedis(t)
	double := nomaddouble.New(nomaddouble.Config{
		Delays: nomaddouble.Quick(), Dir: t.TempDir(), BaseEnv: os.Environ(),
		Nodes: []nomaddouble.Node{{Name: "gpu-1", Devices: []nomaddouble.Device{nomaddouble.GPUs(1)}}},
	})
	if err := double.SetStatistics("gpu-1", nomaddouble.Statistics{Empty: true}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- double.Run(ctx) }()
	nomad := httptest.NewServer(double)
	t.Cleanup(func() {
		double.CutStreams()
		nomad.CloseClientConnections()
		nomad.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the Nomad double: %v", err)
		}
	})

	stub := func(name string, lines ...string) string {
		job := commandJob(name, binary, "stub", "--listen", "${NOMAD_ADDR_http}", "--load", "200ms")
		return strings.Replace(job, "kill_signal ", strings.Join(lines, "\n      ")+"\n      kill_signal ", 1)
	}
	const oneGPU = "resources {\n        device \"nvidia/gpu\" {\n          count = 1\n        }\n      }"
	image := strings.Replace(stub("pulled"), `driver = "raw_exec"`, `driver = "docker"`, 1)
	double.SetStartup("default", "pulled", nomaddouble.Startup{Delay: 10 * time.Minute, Image: "registry.example/engine:2",
		Progress: []string{"Docker image pull progress: 3 of 8 layers"}})
	services := pairs{
		"adopted": {policyOf("adopted", replicas(0, 3, 2)), stub("adopted", `env {`, `  LEVEL = "2"`, `}`)},
		"stopped": {policyOf("stopped", replicas(0, 2, 2)), stub("stopped")},
		"scaled":  {policyOf("scaled", replicas(0, 3, 2)), stub("scaled")},
		"lucky":   {policyOf("lucky", replicas(0, 2, 2)), stub("lucky", oneGPU)},
		"waiting": {policyOf("waiting", replicas(0, 2, 2)), stub("waiting", oneGPU)},
		"pulled":  {policyOf("pulled", replicas(0, 1, 2), "probe {\n    path = \"/health\"\n  }"), image},
	}
	// Somebody has registered another version of one job before.
	older := strings.NewReplacer(`"200ms"`, `"400ms"`, `kill_timeout = "10s"`, `kill_timeout = "20s"`).Replace(services["adopted"].job)
	var job json.RawMessage
	tellNomad(t, nomad.URL, "/v1/jobs/parse", map[string]any{"JobHCL": older, "Canonicalize": true}, &job)
	tellNomad(t, nomad.URL, "/v1/jobs", map[string]any{"Job": job}, nil)

	h := startServe(t, "activator,scaler,web", append(services.arguments(t), "--redis", server.URL(), "--nomad", nomad.URL)...)
	runSpecs(t, h, "PILOTLIGHT_UI_NOMAD="+nomad.URL)
}

// tellNomad is a call of a person or a program other than Pilotlight.
func tellNomad(t *testing.T, api, path string, body, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	err = func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, api+path, bytes.NewReader(text))
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		said, err := io.ReadAll(resp.Body)
		switch {
		case err != nil:
			return err
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%s: %s: %s", path, resp.Status, said)
		case into == nil:
			return nil
		}
		return json.Unmarshal(said, into)
	}()
	if err != nil {
		t.Fatal(err)
	}
}
