package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

const (
	apiBase    = "/api/v1"
	eventsPath = apiBase + "/events"

	smallBody  int64 = 16 << 10 // commands
	policyBody int64 = 1 << 20  // policy texts
)

// route is one line of the table that router, body limits and openapi.json are
// made from.
type route struct {
	method, path string
	handler      echo.HandlerFunc
	limit        int64      // bytes taken of a body
	api          *operation // nil for pages and files
}

// operation describes an API route for openapi.json.
type operation struct {
	summary string
	params  []parameter
	body    []content // nil: none taken
	answers []answer
}

type parameter struct {
	in, name, kind string // kind: "string" or "integer"
	required       bool
	about          string
}

type content struct {
	media string
	of    any // zero value of the JSON type; nil: text
}

type answer struct {
	status int
	about  string
	of     []content
	etag   bool
	warns  bool // has Warning headers
}

var (
	nameParam     = parameter{in: "path", name: "name", kind: "string", required: true, about: "name of the service, which is the name of its policy"}
	serviceFilter = parameter{in: "query", name: "service", kind: "string", about: "only of this service"}
	limitParam    = parameter{in: "query", name: "limit", kind: "integer", about: "at most this many, 1 to 1000; default 100"}
	commentParam  = parameter{in: "query", name: "comment", kind: "string", about: "why; stored with the version"}
	fromHeader    = parameter{in: "header", name: "From", kind: "string", about: "who changes it; stored and shown"}
	ifMatch       = parameter{in: "header", name: "If-Match", kind: "string", about: "the ETag that the change is based on, or *"}
	ifNoneMatch   = parameter{in: "header", name: "If-None-Match", kind: "string", about: "* creates, and fails if it is there"}

	policyContents = []content{{media: mediaJSON, of: policies.Policy{}}, {media: mediaHCL}}
)

func problems(list ...answer) []answer {
	for i := range list {
		list[i].of = []content{{media: mediaProblem, of: Problem{}}}
	}
	return list
}

func answers(ok answer, rest ...answer) []answer { return append([]answer{ok}, problems(rest...)...) }

func okJSON(of any, about string) answer {
	return answer{status: http.StatusOK, about: about, of: []content{{media: mediaJSON, of: of}}}
}

var (
	no400 = answer{status: 400, about: "malformed request; the detail names the field"}
	no404 = answer{status: 404, about: "no such name"}
	no412 = answer{status: 412, about: "changed since; current is the version that won; nothing was written"}
	no413 = answer{status: 413, about: "body too large"}
	no415 = answer{status: 415, about: "another media type than the ones named"}
	no422 = answer{status: 422, about: "wrong; all errors at once, each with field, line, message, allowed"}
	no428 = answer{status: 428, about: "If-Match or If-None-Match is missing"}
	no500 = answer{status: 500, about: "what is stored is not valid in this version of the program; it can be read as text/hcl"}
	no503 = answer{status: 503, about: "the store does not answer; Retry-After says when to try again"}
)

// routes is the table.
func (s *Server) routes() []route {
	pages := []route{
		{method: "GET", path: "/", handler: s.fleetPage},
		{method: "GET", path: "/services/:name", handler: s.servicePage},
		{method: "GET", path: "/services/:name/:verb", handler: s.operatePage},
		{method: "POST", path: "/services/:name/:verb", handler: s.operateForm, limit: smallBody},
		{method: "GET", path: "/cold-starts", handler: s.coldStartsPage},
		{method: "GET", path: "/decisions", handler: s.decisionsPage},
		{method: "GET", path: requestsPath, handler: s.requestsPage},
		{method: "GET", path: requestsPath + "/:id/cancel", handler: s.cancelRequestPage},
		{method: "POST", path: requestsPath + "/:id/cancel", handler: s.cancelRequestForm, limit: smallBody},
		{method: "GET", path: "/policies", handler: s.policiesPage},
		{method: "GET", path: "/policies/:name", handler: s.policyPage},
		{method: "POST", path: "/policies/:name", handler: s.policyForm, limit: 3 * policyBody}, // form encoding can triple a text
		{method: "GET", path: "/policies/:name/history", handler: s.historyPage},
		{method: "GET", path: "/policies/:name/simulations/:id", handler: s.simulationPage},
		{method: "POST", path: "/policies/:name/simulations/:id", handler: s.cancelSimulationForm, limit: smallBody},
		{method: "POST", path: "/policies/:name/shadow", handler: s.shadowEndForm, limit: smallBody},
		{method: "GET", path: "/static/:hash/*", handler: s.assets.serve},
		{method: "GET", path: "/favicon.ico", handler: s.assets.favicon},
	}
	return append(s.apiRoutes(), pages...)
}

func (s *Server) apiRoutes() []route {
	table := []route{
		{method: "GET", path: apiBase + "/services", handler: s.getServices, api: &operation{
			summary: "All services, by name; one with a policy that the scaler has not reported on yet is zero with unknown figures",
			answers: answers(okJSON([]ServiceInfo{}, "the services"), no503)}},
		{method: "GET", path: apiBase + "/services/:name", handler: s.getService, api: &operation{
			summary: "One service", params: []parameter{nameParam},
			answers: answers(okJSON(ServiceInfo{}, "the service"), no404, no503)}},
		{method: "GET", path: apiBase + "/cold-starts", handler: s.getColdStarts, api: &operation{
			summary: "Cold starts, newest first", params: []parameter{serviceFilter, limitParam},
			answers: answers(okJSON([]jobs.ColdStart{}, "the cold starts"), no400, no503)}},
		{method: "GET", path: apiBase + "/decisions", handler: s.getDecisions, api: &operation{
			summary: "Decisions that changed something, or that a person or a fault caused, newest first", params: []parameter{serviceFilter, limitParam,
				{in: "query", name: "shadow", kind: "string", about: "true: those of the draft that runs beside the policy of the service, which are not carried out"}},
			answers: answers(okJSON([]decide.Decision{}, "the decisions"), no400, no503)}},
		{method: "GET", path: apiBase + "/timeline", handler: s.getTimeline, api: &operation{
			summary: "A service's demand and replicas over time, oldest first, one point a second at most",
			params: []parameter{{in: "query", name: "service", kind: "string", required: true, about: "which service"},
				{in: "query", name: "limit", kind: "integer", about: "at most this many of the latest, 1 to 7200; default 900"}},
			answers: answers(okJSON([]jobs.Point{}, "the points"), no400, no503)}},
		{method: "GET", path: eventsPath, handler: s.getEvents, api: &operation{
			summary: "Server-sent events: status, decision, coldstart, policy, point (without id), beat (without id), reset",
			params: []parameter{
				{in: "query", name: "topics", kind: "string", about: "only these events, separated by commas"},
				serviceFilter,
				{in: "query", name: "last_event_id", kind: "string", about: "as the Last-Event-ID header, for readers that cannot send it"},
				{in: "header", name: "Last-Event-ID", kind: "string", about: "go on after this event"}},
			answers: answers(answer{status: 200, about: "the stream", of: []content{{media: "text/event-stream"}}})}},
		{method: "GET", path: apiBase + "/openapi.json", handler: s.getOpenAPI, api: &operation{
			summary: "This description", answers: answers(okJSON(map[string]any{}, "OpenAPI 3.1"))}},
	}
	for _, verb := range []string{jobs.VerbWake, jobs.VerbSleep, jobs.VerbPause, jobs.VerbResume, jobs.VerbPin, jobs.VerbUnpin} {
		table = append(table, route{method: "POST", path: apiBase + "/services/:name/" + verb, handler: s.postCommand(verb), limit: smallBody,
			api: &operation{summary: verbs[verb].about, params: []parameter{nameParam, fromHeader},
				body: []content{{media: mediaJSON, of: commandBody(verb)}},
				answers: answers(answer{status: 202, about: "recorded, and handed to the scaler", of: []content{{media: mediaJSON, of: jobs.Command{}}}},
					no400, no404, no413, no415, no422, no503)}})
	}
	table = append(append(table, s.traceRoutes()...), s.requestRoutes()...)
	table = append(append(table, s.policyRoutes()...), s.simulateRoutes()...)
	return append(table, s.shadowRoutes()...)
}

func (s *Server) policyRoutes() []route {
	one := apiBase + "/policies/:name"
	withTag := func(status int, about string) answer {
		return answer{status: status, about: about, of: policyContents, etag: true}
	}
	saved := func(status int, about string) answer {
		a := withTag(status, about)
		a.warns = true
		return a
	}
	return []route{
		{method: "GET", path: apiBase + "/policies", handler: s.getPolicies, api: &operation{
			summary: "All policies, by name; as text/hcl one document",
			answers: answers(answer{status: 200, about: "the policies", of: []content{{media: mediaJSON, of: []PolicyInfo{}}, {media: mediaHCL}}}, no503)}},
		{method: "GET", path: one, handler: s.getPolicy, api: &operation{
			summary: "One policy, as JSON or as it was written", params: []parameter{nameParam},
			answers: answers(withTag(200, "the policy; its ETag is the version, the same for both formats"), no404, no500, no503)}},
		{method: "PUT", path: one, handler: s.putPolicy, limit: policyBody, api: &operation{
			summary: "Create or change a policy by compare-and-set",
			params:  []parameter{nameParam, ifMatch, ifNoneMatch, commentParam, fromHeader}, body: policyContents,
			answers: append(answers(saved(200, "changed"), no400, no412, no413, no415, no422, no428, no503), saved(201, "created"))}},
		{method: "DELETE", path: one, handler: s.deletePolicy, api: &operation{
			summary: "Delete a policy; its history stays", params: []parameter{nameParam, ifMatch, commentParam, fromHeader},
			answers: answers(answer{status: 204, about: "deleted"}, no400, no404, no412, no428, no503)}},
		{method: "POST", path: one + "/validate", handler: s.validatePolicy, limit: policyBody, api: &operation{
			summary: "What is wrong with a draft", params: []parameter{nameParam}, body: policyContents,
			answers: answers(okJSON(Verdict{}, "the verdict, also for a wrong draft"), no400, no413, no415, no503)}},
		{method: "POST", path: one + "/diff", handler: s.diffPolicy, limit: policyBody, api: &operation{
			summary: "What a draft would change", params: []parameter{nameParam}, body: policyContents,
			answers: answers(okJSON(Difference{}, "field by field"), no400, no413, no415, no422, no503)}},
		{method: "GET", path: one + "/versions", handler: s.getVersions, api: &operation{
			summary: "All versions, newest first, with their texts", params: []parameter{nameParam},
			answers: answers(okJSON([]policies.Version{}, "the versions"), no404, no503)}},
		{method: "POST", path: one + "/rollback", handler: s.rollbackPolicy, limit: smallBody, api: &operation{
			summary: "Save the text of an earlier version as the newest; without If-Match or If-None-Match over whatever is in force", params: []parameter{nameParam, ifMatch, ifNoneMatch, fromHeader},
			body:    []content{{media: mediaJSON, of: RollbackRequest{}}},
			answers: answers(saved(200, "saved"), no400, no404, no412, no413, no415, no422, no503)}},
	}
}
