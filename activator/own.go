package activator

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// serveOwn answers what is never forwarded; it reports whether it did. Nothing
// of it wakes anything.
func (a *Activator) serveOwn(w http.ResponseWriter, r *http.Request, c *call) bool {
	switch path := r.URL.Path; {
	case path == "/health":
		c.head(w.Header())
		a.health(w, r, c)
	case within(path, "/v1/models"):
		c.head(w.Header())
		a.models(w, r, c, strings.Trim(strings.TrimPrefix(path, "/v1/models"), "/"))
	case path == peersPath:
		a.meetPeer(w, r)
	case within(path, requestsPath):
		if err := a.serveRequests(w, r, c); err != nil {
			a.fail(w, r, c, err)
		}
	case reserved(path):
		a.fail(w, r, c, ErrUnknownService)
	default:
		return false
	}
	return true
}

// reserved paths are Pilotlight's own on every listener.
func reserved(path string) bool {
	return path == "/health" || path == "/livez" || path == "/readyz" || within(path, "/pilotlight")
}

// serviceHealth is one service in GET /health.
type serviceHealth struct {
	State         string   `json:"state"`
	ReadyReplicas int      `json:"ready_replicas"`
	Held          int      `json:"held"`
	ETA           *float64 `json:"eta_s"` // until a request that comes now is sent to a replica; nil: unknown
	Reason        *string  `json:"reason"`
}

// health: requests can be taken, cold or warm.
func (a *Activator) health(w http.ResponseWriter, r *http.Request, c *call) {
	rt := a.routes.Load()
	if rt == nil {
		writeJSON(w, "application/json", http.StatusServiceUnavailable,
			map[string]any{"status": "starting", "reason": "policies have not been read yet"})
		return
	}
	if name := r.URL.Query().Get("service"); name != "" {
		if rt.services[name] == nil {
			a.fail(w, r, c, ErrUnknownService)
			return
		}
		h := a.healthOf(rt.services[name])
		writeJSON(w, "application/json", http.StatusOK, map[string]any{"status": "healthy", "service": name,
			"state": h.State, "ready_replicas": h.ReadyReplicas, "held": h.Held, "eta_s": h.ETA, "reason": h.Reason})
		return
	}
	all := map[string]serviceHealth{}
	for _, name := range rt.names {
		all[name] = a.healthOf(rt.services[name])
	}
	writeJSON(w, "application/json", http.StatusOK, map[string]any{"status": "healthy", "services": all})
}

func (a *Activator) healthOf(s *service) serviceHealth {
	st, ok := a.cfg.Statuses.Status(s.name)
	if !ok {
		return serviceHealth{State: jobs.StateZero}
	}
	return serviceHealth{State: st.State, ReadyReplicas: st.Replicas.Ready, Held: a.held(s, st), ETA: a.newcomer(s), Reason: st.Blocked}
}

// models lists the models that policies route, or shows one, as OpenAI does.
func (a *Activator) models(w http.ResponseWriter, r *http.Request, c *call, id string) {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	data := []model{}
	rt, err := a.routesSoon(r.Context())
	if err != nil {
		a.fail(w, r, c, err)
		return
	}
	for _, name := range rt.names {
		for _, m := range rt.services[name].policy.Route.Models {
			data = append(data, model{ID: m, Object: "model", Created: a.started.Unix(), OwnedBy: strings.Clone(name)})
		}
	}
	if id == "" {
		writeJSON(w, "application/json", http.StatusOK, map[string]any{"object": "list", "data": data})
		return
	}
	for _, m := range data {
		if m.ID == id {
			writeJSON(w, "application/json", http.StatusOK, m)
			return
		}
	}
	a.fail(w, r, c, fmt.Errorf("%w: no policy routes model %q", ErrUnknownService, clip(id, 100)))
}
