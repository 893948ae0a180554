package activator

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// routes finds the service of a request. It is immutable; a change of policies
// makes a new one.
type routes struct {
	services map[string]*service
	names    []string
	prefixes []prefixRoute // longest first
	hosts    map[string]*service
	models   map[string]*service
	maxBody  int64 // the largest of all services: the bound while the service is not known yet
	maxWait  time.Duration
}

type prefixRoute struct {
	prefix  string
	hosts   []string // empty: any
	service *service
}

// privatePaths of engines: never reachable, whatever a policy routes.
var privatePaths = map[string]bool{
	"/v1/load_lora_adapter": true, "/v1/unload_lora_adapter": true,
	"/sleep": true, "/wake_up": true, "/is_sleeping": true, "/collective_rpc": true,
	"/reset_prefix_cache": true, "/reset_mm_cache": true, "/start_profile": true, "/stop_profile": true,
	"/server_info": true, "/update_weights": true, "/init_weights_update_group": true,
	"/update_weights_from_disk": true, "/update_weights_from_distributed": true,
	"/get_weights_by_name": true, "/release_memory_occupation": true, "/resume_memory_occupation": true,
	"/flush_cache": true, "/slots": true, "/lora-adapters": true, "/metrics": true,
}

// modelPaths are OpenAI's routes whose body names the model.
var modelPaths = map[string]bool{
	"/v1/chat/completions": true, "/v1/completions": true, "/v1/embeddings": true,
}

// loadRoutes reads the policies and swaps the routes. On an error the old ones
// stay in force; if it is about single policies, then those of these.
func (a *Activator) loadRoutes(ctx context.Context) (read bool) {
	versions, err := a.cfg.Policies.List(ctx)
	var unreadable *policies.UnreadableError
	if errors.As(err, &unreadable) {
		a.log.Error("some policies are not valid here; the last versions that were stay in force", "err", err)
	} else if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("policies cannot be read; the last ones stay in force", "err", err)
		}
		return false
	}
	old := a.routes.Load()
	next := &routes{services: map[string]*service{}, hosts: map[string]*service{}, models: map[string]*service{}}
	if unreadable != nil && old != nil {
		for _, v := range unreadable.Versions {
			if s := old.services[v.Name]; s != nil {
				next.add(s)
			}
		}
	}
	for _, v := range versions {
		var before *service
		if old != nil {
			before = old.services[v.Name]
		}
		s, err := a.serviceOf(v, before)
		if err != nil {
			a.log.Error("policy cannot be served", "service", v.Name, "err", err)
			continue
		}
		next.add(s)
	}
	slices.SortFunc(next.prefixes, func(x, y prefixRoute) int {
		return cmp.Or(cmp.Compare(len(y.prefix), len(x.prefix)), cmp.Compare(len(y.hosts), len(x.hosts)),
			cmp.Compare(x.service.name, y.service.name))
	})
	slices.Sort(next.names)
	a.routes.Store(next)
	if old == nil {
		close(a.known)
		return true
	}
	for name := range old.services {
		if next.services[name] == nil {
			a.metrics.forget(name)
		}
	}
	if len(next.services) == 0 && len(old.services) > 0 {
		a.log.Error("no policy is left: every request is answered with 404 until one is applied",
			"reason", "the last one was deleted; if nobody did that, Redis has lost its data: apply the policies again, or restart with --policies")
	}
	return true
}

func (rt *routes) add(s *service) {
	rt.services[s.name] = s
	rt.names = append(rt.names, s.name)
	rt.maxBody = max(rt.maxBody, s.policy.Hold.MaxBody)
	rt.maxWait = max(rt.maxWait, s.policy.Hold.MaxWait)
	r := s.policy.Route
	for _, p := range r.PathPrefixes {
		rt.prefixes = append(rt.prefixes, prefixRoute{prefix: strings.TrimSuffix(p, "/"), hosts: r.Hosts, service: s})
	}
	if len(r.PathPrefixes) == 0 {
		for _, h := range r.Hosts {
			rt.hosts[h] = s
		}
	}
	for _, m := range r.Models {
		rt.models[m] = s
	}
}

// find returns the service by path and host; nil, true means that the body's
// model decides.
func (rt *routes) find(r *http.Request) (s *service, byModel bool) {
	path, host := r.URL.Path, hostOf(r)
	if private(path) {
		return nil, false
	}
	for _, p := range rt.prefixes {
		if within(path, p.prefix) && (len(p.hosts) == 0 || slices.Contains(p.hosts, host)) {
			return p.service, false
		}
	}
	if modelPaths[path] && len(rt.models) > 0 {
		return nil, true
	}
	return rt.hosts[host], false
}

// private reports whether a path is an engine's own, or below it.
func private(path string) bool {
	for p := path; p != ""; p = p[:strings.LastIndexByte(p, '/')] {
		if privatePaths[p] {
			return true
		}
		if !strings.Contains(p, "/") {
			break
		}
	}
	return false
}

// within reports whether path is prefix or below it, by whole segments.
func within(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(host)
}

// cleanPath refuses what a path prefix could be slipped past with.
func cleanPath(p string) error {
	if p == "" || p[0] != '/' {
		return errors.New("the path must begin with /")
	}
	for seg := range strings.SplitSeq(p[1:], "/") {
		if seg == "." || seg == ".." {
			return errors.New("the path must not contain . or .. segments")
		}
	}
	if strings.Contains(p, "//") {
		return errors.New("the path must not contain empty segments")
	}
	return nil
}
