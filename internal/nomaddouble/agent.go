package nomaddouble

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

const leader = "127.0.0.1:4647"

// agentSelf answers the part of an agent's own account that says how it is set.
func (s *Server) agentSelf(w http.ResponseWriter, _ *http.Request) {
	answerPlain(w, document{
		"config": document{
			"ACL":        document{"Enabled": s.guarded()},
			"Client":     document{"Enabled": true, "MaxKillTimeout": s.cfg.MaxKillTimeout.String(), "NodeClass": "", "MinDynamicPort": 20000, "MaxDynamicPort": 32000},
			"Datacenter": "dc1",
			"Region":     "global",
			"Server":     document{"Enabled": true, "EventBufferSize": eventBuffer},
			"Telemetry": document{"CollectionInterval": "1s", "PublishAllocationMetrics": !s.cfg.WithoutAllocationMetrics,
				"PublishNodeMetrics": true, "PrometheusMetrics": true},
			"Version": document{"Version": "2.0.6", "VersionPrerelease": "dev"},
		},
		"member": document{"Name": "server.global", "Addr": "127.0.0.1", "Port": 4648, "Status": "alive"},
		"stats":  document{"nomad": document{"leader": "true", "server": "true", "leader_addr": leader}, "client": document{"known_servers": leader}},
	})
}

func (s *Server) agentHealth(w http.ResponseWriter, _ *http.Request) {
	well := document{"message": "ok", "ok": true}
	answerPlain(w, document{"client": well, "server": well})
}

func (s *Server) statusLeader(w http.ResponseWriter, _ *http.Request) { answerPlain(w, leader) }

func (s *Server) namespaces(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []document{}
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			list = append(list, document{"Capabilities": nil, "ConsulConfiguration": nil, "CreateIndex": 1, "Description": "", "Hash": "",
				"Meta": nil, "ModifyIndex": 1, "Name": name, "NodePoolConfiguration": nil, "OptionalExtraClaims": nil, "Quota": "",
				"RequiredExtraClaims": nil, "VaultConfiguration": nil})
		}
	}
	add("default")
	for k := range s.jobs {
		add(k.namespace)
	}
	answer(w, 1, list)
}

func (s *Server) schedulerConfiguration(w http.ResponseWriter, _ *http.Request) {
	answer(w, 5, document{"Index": 5, "KnownLeader": true, "LastContact": 0, "NextToken": "", "SchedulerConfig": document{
		"CreateIndex": 5, "MemoryOversubscriptionEnabled": false, "ModifyIndex": 5, "NodeLimitForFeasibilityChecks": 0,
		"PauseEvalBroker": false, "PreemptionConfig": document{"BatchSchedulerEnabled": false, "ServiceSchedulerEnabled": false,
			"SysBatchSchedulerEnabled": false, "SystemSchedulerEnabled": true},
		"RejectJobRegistration": false, "SchedulerAlgorithm": "binpack"}})
}

// logs answers what a task has written, as text.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	var missing string
	switch {
	case q.Get("task") == "":
		missing = "must provide task name"
	case q.Get("type") != "stdout" && q.Get("type") != "stderr":
		missing = "must provide log type (stdout/stderr)"
	}
	if missing != "" {
		s.mu.Unlock()
		refuse(w, 400, "%s", missing)
		return
	}
	a := s.lookUp(w, r, `Unknown allocation "`+r.PathValue("id")+`"`)
	s.mu.Unlock()
	if a == nil || !s.clientOf(w, r, a.node) {
		return
	}
	for _, t := range a.group.Tasks {
		if t.Name != q.Get("task") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(s.cfg.Dir, a.ID, t.Name, q.Get("type")))
		if err != nil {
			text = nil // it has written nothing
		}
		if n, err := strconv.Atoi(q.Get("offset")); err == nil {
			n = min(n, len(text))
			if q.Get("origin") == "end" {
				n = len(text) - n
			}
			text = text[n:]
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(text)
		return
	}
	refuse(w, 400, "unknown task name %q", q.Get("task"))
}
