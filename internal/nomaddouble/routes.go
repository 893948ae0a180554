package nomaddouble

import (
	"cmp"
	"net/http"
)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /v1/jobs":                  s.listJobs,
		"PUT /v1/jobs":                  s.registerJob,
		"PUT /v1/jobs/parse":            s.parseJob,
		"PUT /v1/validate/job":          s.validateJob,
		"GET /v1/job/{id}":              s.getJob,
		"DELETE /v1/job/{id}":           s.stopJob,
		"PUT /v1/job/{id}/plan":         s.planJob,
		"PUT /v1/job/{id}/evaluate":     s.evaluateJob,
		"PUT /v1/job/{id}/revert":       s.revertJob,
		"GET /v1/job/{id}/versions":     s.jobVersions,
		"GET /v1/job/{id}/summary":      s.jobSummary,
		"GET /v1/job/{id}/scale":        s.getScale,
		"PUT /v1/job/{id}/scale":        s.putScale,
		"GET /v1/job/{id}/evaluations":  s.jobEvaluations,
		"GET /v1/job/{id}/allocations":  s.jobAllocations,
		"GET /v1/allocations":           s.listAllocations,
		"GET /v1/allocation/{id}":       s.getAllocation,
		"GET /v1/evaluations":           s.listEvaluations,
		"GET /v1/evaluation/{id}":       s.getEvaluation,
		"GET /v1/nodes":                 s.listNodes,
		"GET /v1/node/{id}":             s.getNode,
		"PUT /v1/node/{id}/eligibility": s.putEligibility,
		"PUT /v1/node/{id}/drain":       s.putDrain,
		"GET /v1/node/{id}/allocations": s.nodeAllocations,
		"GET /v1/event/stream":          s.stream,

		"GET /v1/job/{id}/deployment":              s.jobDeployment,
		"GET /v1/job/{id}/deployments":             s.jobDeployments,
		"GET /v1/deployments":                      s.listDeployments,
		"GET /v1/deployment/{id}":                  s.getDeployment,
		"PUT /v1/deployment/fail/{id}":             s.failDeployment,
		"PUT /v1/allocation/{id}/stop":             s.stopAllocation,
		"GET /v1/client/stats":                     s.clientStatistics,
		"GET /v1/client/allocation/{id}/stats":     s.allocationStatistics,
		"GET /v1/client/fs/logs/{id}":              s.logs,
		"GET /v1/agent/self":                       s.agentSelf,
		"GET /v1/agent/health":                     s.agentHealth,
		"GET /v1/status/leader":                    s.statusLeader,
		"GET /v1/namespaces":                       s.namespaces,
		"GET /v1/operator/scheduler/configuration": s.schedulerConfiguration,
		"GET /v1/acl/token/self":                   s.tokenSelf,
	} {
		mux.HandleFunc(pattern, h)
		if method, path, _ := cutMethod(pattern); method == http.MethodPut {
			mux.HandleFunc("POST "+path, h)
		}
	}
	mux.HandleFunc("/v1/job/{id}/scale", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 405, "Invalid method") })
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404, "") })
	return mux
}

func cutMethod(pattern string) (method, path string, ok bool) {
	for i := range pattern {
		if pattern[i] == ' ' {
			return pattern[:i], pattern[i+1:], true
		}
	}
	return "", pattern, false
}

func namespace(r *http.Request) string { return cmp.Or(r.URL.Query().Get("namespace"), "default") }

// in reports whether a thing of namespace ns belongs to what r asks for; of all
// namespaces those that its token sees.
func in(r *http.Request, ns string) bool {
	if namespace(r) != "*" {
		return namespace(r) == ns
	}
	rights, told := r.Context().Value(rightsKey{}).(Rights)
	return !told || rights.sees(ns)
}

// named returns the job of the path; s.mu is held.
func (s *Server) named(r *http.Request) *job { return s.jobs[jobKey{namespace(r), r.PathValue("id")}] }
