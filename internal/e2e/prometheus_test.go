package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
)

// prometheusServer is a real Prometheus that scrapes the ready replicas of a
// service each second, and answers nobody without a password.
type prometheusServer struct {
	bin, dir string
	port     int
	proc     *process
	replicas *replicaTargets
}

const (
	prometheusUser     = "reader"
	prometheusPassword = "s3cret"
	// bcrypt of the password, as Prometheus wants it.
	prometheusHash = "$2a$04$7p8Hc/OcJVM8a18yO7kXdOjszyDYyRXjfhYHMyoUkgcoT3qBB7BlG"
)

// replicaTargets tells Prometheus which replicas there are.
type replicaTargets struct {
	mu      sync.Mutex // guards service
	service func() jobs.Status
}

func (r *replicaTargets) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	service := r.service
	r.mu.Unlock()
	addresses := []string{}
	if service != nil {
		for _, a := range service().Replicas.List {
			if a.Phase == jobs.Ready {
				addresses = append(addresses, a.Address)
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode([]map[string][]string{{"targets": addresses}}) // one that is cut off asks again
}

// follow names the service whose replicas are scraped.
func (r *replicaTargets) follow(service func() jobs.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.service = service
}

// startPrometheus skips the test where no prometheus is installed.
func startPrometheus(t *testing.T) *prometheusServer {
	t.Helper()
	skipIfShort(t)
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is missing (Debian: apt-get install prometheus)")
	}
	p := &prometheusServer{bin: bin, dir: t.TempDir(), port: freePort(t), replicas: &replicaTargets{}}
	discovery := httptest.NewServer(p.replicas)
	t.Cleanup(discovery.Close)
	for name, text := range map[string]string{
		"prometheus.yml": fmt.Sprintf(`global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: chat
    http_sd_configs:
      - url: %s
        refresh_interval: 1s
`, discovery.URL),
		"web.yml": fmt.Sprintf("basic_auth_users:\n  %s: %s\n", prometheusUser, prometheusHash),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.start(t)
	return p
}

// URL for --prometheus, with the password.
func (p *prometheusServer) URL() string {
	return fmt.Sprintf("http://%s:%s@%s", prometheusUser, prometheusPassword, p.address())
}

func (p *prometheusServer) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
}

// start runs the server, anew or for the first time, until it is ready.
func (p *prometheusServer) start(t *testing.T) {
	t.Helper()
	p.proc = startProcess(t, nil, p.bin,
		"--config.file", filepath.Join(p.dir, "prometheus.yml"), "--web.config.file", filepath.Join(p.dir, "web.yml"),
		"--storage.tsdb.path", filepath.Join(p.dir, "data"),
		"--web.listen-address", p.address(), "--log.level", "warn")
	await(t, "prometheus to be ready", func() error {
		if err := p.proc.running(); err != nil {
			t.Fatalf("prometheus: %v\n%s", err, p.proc.said)
		}
		return probe(p.URL() + "/-/ready")
	})
}

// kill is kill -9.
func (p *prometheusServer) kill() { p.proc.kill() }
