package bench

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
)

// nomadPart is the Nomad double in a process of its own. It counts what it is
// asked, and below /bench/ tells that and lets tasks end.
type nomadPart struct {
	double *nomaddouble.Server

	mu   sync.Mutex
	told nomadTold
}

// nomadTold is what the part has been asked so far.
type nomadTold struct {
	Calls     map[string]int `json:"calls"`      // by method and route
	LastScale time.Time      `json:"last_scale"` // when the last call that scales came
}

// benchNodes of the cluster.
const benchNodes = 10

// newNomadPart returns the part; end removes what its tasks have written.
func newNomadPart() (n *nomadPart, end func(), err error) {
	dir, err := os.MkdirTemp("", "pilotlight-bench-")
	if err != nil {
		return nil, nil, err
	}
	cfg := nomaddouble.Config{Delays: nomaddouble.DefaultDelays(), Dir: dir, BaseEnv: os.Environ()}
	for i := range benchNodes {
		cfg.Nodes = append(cfg.Nodes, nomaddouble.Node{Name: "node-" + string(rune('a'+i))})
	}
	return &nomadPart{double: nomaddouble.New(cfg), told: nomadTold{Calls: map[string]int{}}},
		func() { _ = os.RemoveAll(dir) }, nil
}

func (n *nomadPart) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	switch r.URL.Path {
	case "/bench/told":
		n.mu.Lock()
		defer n.mu.Unlock()
		_ = json.NewEncoder(w).Encode(n.told) // whoever does not read it asks again
		return
	case "/bench/exit":
		if err := n.double.Crash(r.URL.Query().Get("allocation"), 1); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
		return
	}
	n.mu.Lock()
	n.told.Calls[r.Method+" "+routeOf(r.URL.Path)]++
	if r.Method != http.MethodGet && strings.HasSuffix(r.URL.Path, "/scale") {
		n.told.LastScale = now
	}
	n.mu.Unlock()
	n.double.ServeHTTP(w, r)
}

// routeOf is a path without what names one thing.
func routeOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/v1/"), "/")
	if len(parts) > 1 && (parts[0] == "job" || parts[0] == "node" || parts[0] == "allocation") {
		parts[1] = "*"
	}
	return strings.Join(parts, "/")
}
