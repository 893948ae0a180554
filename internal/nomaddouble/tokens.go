package nomaddouble

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Rights of a token. Capabilities are those of a namespace rule: list-jobs,
// read-job, scale-job, submit-job, parse-job, plan-job, register-job,
// alloc-lifecycle, read-logs.
type Rights struct {
	Namespaces   []string // that Capabilities are for, "*" is every one; none: default
	Capabilities []string
	NodeRead     bool
	NodeWrite    bool
	AgentRead    bool
	OperatorRead bool
	Management   bool // everything
}

// streamRefusal is how long a stream without permission stays open, silent.
const streamRefusal = 20 * time.Second

// SetToken gives a secret its rights; the first one turns access control on.
// The secret "" is for requests without a token.
func (s *Server) SetToken(secret string, rights Rights) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = make(map[string]Rights)
	}
	s.tokens[secret] = rights
}

// RevokeToken takes a secret's rights away; streams that it opened fall silent
// and end.
func (s *Server) RevokeToken(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, secret)
}

func (s *Server) guarded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens != nil
}

// rights of the request's token. s.mu is held.
func (s *Server) rights(r *http.Request) Rights {
	if s.tokens == nil {
		return Rights{Management: true}
	}
	secret := r.Header.Get("X-Nomad-Token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && secret == "" {
		secret = bearer
	}
	return s.tokens[secret]
}

// may reports whether any of the capabilities is had in a namespace.
func (r Rights) may(ns string, any ...string) bool {
	if r.Management {
		return true
	}
	if ns != "*" && !r.sees(ns) {
		return false
	}
	return slices.ContainsFunc(any, func(c string) bool { return slices.Contains(r.Capabilities, c) })
}

// sees reports whether the capabilities are for things of a namespace.
func (r Rights) sees(ns string) bool {
	in := r.Namespaces
	if len(in) == 0 {
		in = []string{"default"}
	}
	return r.Management || slices.Contains(in, ns) || slices.Contains(in, "*")
}

// permits reports whether the request's token allows it; what it does not has
// been refused.
func (s *Server) permits(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	rights, guarded := s.rights(r), s.tokens != nil
	s.mu.Unlock()
	if !guarded || allowed(rights, r) {
		return true
	}
	if strings.HasPrefix(r.URL.Path, "/v1/event/stream") {
		s.silence(w, r)
		return false
	}
	refuse(w, 403, "Permission denied")
	return false
}

// allowed judges one request, by its route.
func allowed(rights Rights, r *http.Request) bool {
	path, read := strings.TrimPrefix(r.URL.Path, "/v1/"), r.Method == http.MethodGet
	ns := namespace(r)
	first, rest, _ := strings.Cut(path, "/")
	switch {
	case path == "status/leader", path == "agent/health":
		return true
	case path == "event/stream":
		return streamAllowed(rights, r)
	case first == "nodes" || first == "node":
		return rights.Management || rights.NodeWrite || (read && rights.NodeRead)
	case path == "client/stats":
		return rights.Management || rights.NodeRead
	case first == "client" && strings.HasPrefix(rest, "fs/logs"):
		return rights.may(ns, "read-logs", "read-fs")
	case first == "agent":
		return rights.Management || rights.AgentRead
	case first == "operator":
		return rights.Management || rights.OperatorRead
	case first == "acl":
		return rights.Management || len(rights.Capabilities) > 0
	case first == "jobs" && strings.HasSuffix(rest, "parse"):
		return rights.may(ns, "parse-job", "submit-job")
	case first == "validate":
		return rights.may(ns, "read-job", "submit-job")
	case first == "jobs" && read:
		return rights.may(ns, "list-jobs")
	case first == "jobs":
		return rights.may(ns, "submit-job", "register-job")
	case first == "job" && strings.HasSuffix(rest, "/scale") && !read:
		return rights.may(ns, "scale-job", "submit-job")
	case first == "job" && strings.HasSuffix(rest, "/scale"):
		return rights.may(ns, "read-job", "read-job-scaling")
	case first == "job" && strings.HasSuffix(rest, "/plan"):
		return rights.may(ns, "submit-job", "plan-job")
	case first == "job" && strings.HasSuffix(rest, "/evaluate"):
		return rights.may(ns, "read-job", "submit-job")
	case first == "allocation" && !read:
		return rights.may(ns, "alloc-lifecycle", "submit-job")
	case read:
		return rights.may(ns, "read-job")
	}
	return rights.may(ns, "submit-job")
}

// streamAllowed judges each topic; all of them need management. Other than a
// list, a stream of all namespaces needs the right in namespace "*" itself.
func streamAllowed(rights Rights, r *http.Request) bool {
	topics := r.URL.Query()["topic"]
	if len(topics) == 0 {
		return rights.Management
	}
	return !slices.ContainsFunc(topics, func(text string) bool {
		kind, _, _ := strings.Cut(text, ":")
		switch kind {
		case "*":
			return !rights.Management
		case "Node", "NodePool":
			return !rights.Management && !rights.NodeRead
		}
		return !rights.may(namespace(r), "read-job") || !rights.sees(namespace(r))
	})
}

func (s *Server) tokenSelf(w http.ResponseWriter, r *http.Request) {
	d := document{"AccessorID": "acls-disabled", "SecretID": "", "Name": "ACLs disabled token", "Type": "client", "Policies": nil,
		"Roles": nil, "Global": false, "Hash": nil, "CreateTime": time.Time{}, "ExpirationTime": nil, "ExpirationTTL": "",
		"CreateIndex": 0, "ModifyIndex": 0}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens != nil {
		d["AccessorID"], d["Name"], d["Policies"] = newID(), "pilotlight", []string{"pilotlight"}
		if s.rights(r).Management {
			d["Type"], d["Policies"] = "management", nil
		}
	}
	answer(w, 0, d)
}
