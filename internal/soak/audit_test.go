package soak

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// at is a moment of a planted history.
func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func run(request, replica string, n int, from, to float64) Execution {
	x := Execution{RequestID: request, Replica: replica, Name: fmt.Sprintf("%s#%d", replica, n), From: at(from)}
	if to > 0 {
		x.To = at(to)
	}
	return x
}

func post(activator int, from, until float64, status int, execution string) Call {
	return Call{What: "POST", Activator: activator, At: at(from), Until: at(until), Status: status, Execution: execution, Sum: 1}
}

func plain(id, service string, c Call) *Request {
	return &Request{ID: id, Service: service, Sent: c.At, Settled: c.Until, Calls: []Call{c}}
}

func keyed(id, service string, calls ...Call) *Request {
	return &Request{ID: id, Service: service, Keyed: true, Sent: calls[0].At, Settled: calls[len(calls)-1].Until, Calls: calls}
}

func async(id, service, state string, sent, settled float64) *Request {
	c := post(0, sent, sent+0.1, 202, "")
	return &Request{ID: id, Service: service, Async: true, Sent: c.At, Accepted: c.Until, Settled: at(settled), State: state, Ticket: "t", Calls: []Call{c}}
}

func fault(kind string, index int, from, to float64) Fault {
	return Fault{Kind: kind, Index: index, From: at(from), To: at(to)}
}

func broke(c Call) Call { c.Status, c.Err = 0, "EOF"; return c }

func failed(r *Request, reason string) *Request { r.Reason = reason; return r }

func brokenOff(c Call) Call { c.Detail = "its answer broke off"; return c }

func problem(c Call, status int, name string) Call {
	c.Status, c.Problem, c.Execution = status, name, ""
	return c
}

func TestEachAccountIsKept(t *testing.T) {
	kill := fault(KillActivator, 0, 1, 3)
	for _, c := range []struct {
		name       string
		requests   []*Request
		executions []Execution
		faults     []Fault
		late       []int
		leftovers  []string
		want       string // beginnings of the violations' rules; "" none
		exceptions int
	}{
		{
			name:       "a request that is answered",
			requests:   []*Request{plain("r", "single", post(0, 0, 1, 200, "a#1"))},
			executions: []Execution{run("r", "a", 1, 0.1, 0.9)},
		},
		{
			name:     "a connection that breaks for nothing",
			requests: []*Request{plain("r", "single", broke(post(0, 0, 2, 0, "")))},
			want:     "accepted",
		},
		{
			name:     "one that breaks with its activator",
			requests: []*Request{plain("r", "single", broke(post(0, 0, 2, 0, "")))},
			faults:   []Fault{kill},
		},
		{
			name:     "one that breaks while another activator is killed",
			requests: []*Request{plain("r", "single", broke(post(1, 0, 2, 0, "")))},
			faults:   []Fault{kill},
			want:     "accepted",
		},
		{
			name:     "503 that nothing explains",
			requests: []*Request{plain("r", "single", problem(post(1, 0, 2, 0, ""), 503, "store-unavailable"))},
			faults:   []Fault{kill},
			want:     "accepted",
		},
		{
			name:     "503 while Redis is away",
			requests: []*Request{plain("r", "single", problem(post(1, 0, 2, 0, ""), 503, "store-unavailable"))},
			faults:   []Fault{fault(KillRedis, 0, 1, 2)},
		},
		{
			name:     "a keyed request that is never answered",
			requests: []*Request{keyed("r", "single", broke(post(0, 0, 2, 0, "")))},
			faults:   []Fault{kill},
			want:     "accepted",
		},
		{
			name:     "one that is not answered while its activator stands still for a while",
			requests: []*Request{plain("r", "single", broke(post(0, 0, 90, 0, "")))},
			faults:   []Fault{fault(StopActivator, 0, 5, 33), fault(StopActivator, 1, 5, 60)},
			want:     "accepted",
		},
		{
			name:       "the same for most of the time",
			requests:   []*Request{plain("r", "single", broke(post(0, 0, 90, 0, "")))},
			faults:     []Fault{fault(StopActivator, 0, 5, 33), fault(StopActivator, 0, 87, 99)},
			exceptions: 1,
		},
		{
			name:     "an accepted request without a final state",
			requests: []*Request{async("r", "single", "", 0, 100)},
			want:     "accepted",
		},
		{
			name:     "one that failed without any fault",
			requests: []*Request{async("r", "single", "failed", 0, 100)},
			want:     "accepted",
		},
		{
			name:     "one that failed after its activators had died",
			requests: []*Request{failed(async("r", "single", "failed", 0, 100), "attempts")},
			faults:   []Fault{kill, fault(StopActivator, 1, 4, 9), fault(KillActivator, 2, 14, 19)},
		},
		{
			name:     "one that failed after one of them had died",
			requests: []*Request{failed(async("r", "single", "failed", 0, 100), "attempts")},
			faults:   []Fault{kill},
			want:     "accepted",
		},
		{
			name:     "one of which somebody had read the beginning by then",
			requests: []*Request{failed(async("r", "single", "failed", 0, 100), "cut")},
			faults:   []Fault{kill},
		},
		{
			name:     "one without a death for each of its attempts",
			requests: []*Request{plain("r", "single", problem(post(0, 0, 2, 0, ""), 502, "upstream-failed"))},
			faults:   []Fault{fault(KillScaler, 0, 1, 3), fault(KillActivator, 0, 1, 3)},
			want:     "accepted",
		},
		{
			name:     "one with as many",
			requests: []*Request{plain("r", "single", problem(post(0, 0, 2, 0, ""), 502, "upstream-failed"))},
			faults:   []Fault{fault(KillScaler, 0, 1, 3), fault(KillReplica, 0, 1, 1), fault(KillReplica, 0, 2, 2)},
		},
		{
			name:     "one that may not be repeated",
			requests: []*Request{plain("r", "wide", problem(post(0, 0, 2, 0, ""), 502, "upstream-failed"))},
			faults:   []Fault{fault(KillScaler, 0, 1, 3)},
		},
		{
			name:     "one whose answer broke off",
			requests: []*Request{plain("r", "single", brokenOff(problem(post(0, 0, 2, 0, ""), 502, "upstream-failed")))},
			faults:   []Fault{fault(KillReplica, 0, 1, 1)},
		},
		{
			name:     "one that was cancelled by nobody",
			requests: []*Request{async("r", "single", "cancelled", 0, 100)},
			want:     "accepted",
		},
		{
			name: "two readers that are served two answers",
			requests: []*Request{keyed("r", "single", post(0, 0, 1, 200, "a#1"),
				Call{What: "again", At: at(2), Until: at(3), Status: 200, Execution: "b#1", Sum: 2})},
			executions: []Execution{run("r", "a", 1, 0.1, 0.9), run("r", "b", 1, 1, 1.5)},
			want:       "answers",
		},
		{
			name:       "an answer of an execution of another request",
			requests:   []*Request{plain("r", "single", post(0, 0, 1, 200, "a#1")), plain("s", "single", post(0, 0, 1, 200, "a#1"))},
			executions: []Execution{run("r", "a", 1, 0.1, 0.9)},
			want:       "answers",
		},
		{
			name:       "four executions of three that are allowed",
			requests:   []*Request{keyed("r", "single", post(0, 0, 9, 200, "a#4"))},
			executions: []Execution{run("r", "a", 1, 1, 2), run("r", "a", 2, 2, 3), run("r", "a", 3, 3, 4), run("r", "a", 4, 4, 5)},
			want:       "attempts",
		},
		{
			name:       "the same of a caller that did not hear of a failure, which frees its key",
			requests:   []*Request{keyed("r", "single", broke(post(0, 0, 4, 0, "")), post(1, 4, 9, 200, "a#4"))},
			executions: []Execution{run("r", "a", 1, 1, 2), run("r", "a", 2, 2, 3), run("r", "a", 3, 3, 4), run("r", "a", 4, 4, 5)},
			faults:     []Fault{kill},
			exceptions: 1,
		},
		{
			name: "the same of a caller whose twin was told of the failure",
			requests: []*Request{keyed("r", "single", Call{What: "POST", At: at(0), Until: at(0), Err: "connection refused", Refused: true},
				problem(post(1, 0, 4, 0, ""), 502, "upstream-failed"), post(1, 4, 9, 200, "a#4"))},
			executions: []Execution{run("r", "a", 1, 1, 2), run("r", "a", 2, 2, 3), run("r", "a", 3, 3, 4), run("r", "a", 4, 4, 5)},
			faults:     []Fault{fault(KillActivator, 0, -1, 3)},
			exceptions: 1,
		},
		{
			name:       "the same of a caller that has come back before the first of them",
			requests:   []*Request{keyed("r", "single", broke(post(0, 0, 1.1, 0, "")), post(1, 0.8, 9, 200, "a#4"))},
			executions: []Execution{run("r", "a", 1, 1, 2), run("r", "a", 2, 2, 3), run("r", "a", 3, 3, 4), run("r", "a", 4, 4, 5)},
			faults:     []Fault{kill},
			want:       "attempts",
		},
		{
			name:       "the same after an answer, of which the key is not freed",
			requests:   []*Request{keyed("r", "single", broke(post(0, 0, 4, 0, "")), post(1, 4, 9, 200, "a#3"))},
			executions: []Execution{run("r", "a", 1, 1, 2), run("r", "a", 2, 2, 3), run("r", "a", 3, 3, 4), run("r", "a", 4, 4, 5)},
			faults:     []Fault{kill},
			want:       "attempts",
		},
		{
			name:       "the same, but that the second ticket is tried too often",
			requests:   []*Request{keyed("r", "single", broke(post(0, 0, 2, 0, "")), post(1, 2, 9, 200, "a#5"))},
			executions: []Execution{run("r", "a", 1, 1, 2), run("r", "a", 2, 3, 4), run("r", "a", 3, 4, 5), run("r", "a", 4, 5, 6), run("r", "a", 5, 6, 7)},
			faults:     []Fault{kill},
			exceptions: 1,
			want:       "attempts",
		},
		{
			name:       "a request that may not be repeated, and is",
			requests:   []*Request{plain("r", "wide", post(0, 0, 9, 200, "a#2"))},
			executions: []Execution{run("r", "a", 1, 1, 2), run("r", "a", 2, 2, 3)},
			want:       "attempts",
		},
		{
			name:       "two live owners",
			requests:   []*Request{keyed("r", "wide", post(0, 0, 9, 200, "b#1"))},
			executions: []Execution{run("r", "a", 1, 1, 4), run("r", "b", 1, 2, 3)},
			want:       "attempts",
		},
		{
			name:       "a dead owner and the one that adopted its request",
			requests:   []*Request{keyed("r", "wide", broke(post(0, 0, 2, 0, "")), post(1, 2, 9, 200, "b#1"))},
			executions: []Execution{run("r", "a", 1, 1, 4), run("r", "b", 1, 2, 3)},
			faults:     []Fault{kill},
			exceptions: 1,
		},
		{
			name: "a slot given twice",
			requests: []*Request{
				plain("r", "single", post(0, 0, 9, 200, "a#1")), plain("s", "single", post(1, 0, 9, 200, "a#2"))},
			executions: []Execution{run("r", "a", 1, 1, 4), run("s", "a", 2, 3.99, 5)},
			want:       "slots",
		},
		{
			name: "a slot given back and given on",
			requests: []*Request{
				plain("r", "single", post(0, 0, 9, 200, "a#1")), plain("s", "single", post(1, 0, 9, 200, "a#2"))},
			executions: []Execution{run("r", "a", 1, 1, 4), run("s", "a", 2, 4, 5)},
		},
		{
			name: "a dead activator's slot given on before its engine is done",
			requests: []*Request{
				plain("r", "single", broke(post(0, 0, 1.1, 0, ""))), plain("s", "single", post(1, 0, 9, 200, "a#2"))},
			executions: []Execution{run("r", "a", 1, 0.2, 4), run("s", "a", 2, 3, 5)},
			faults:     []Fault{kill},
			want:       "slots",
		},
		{
			name: "the same, put to use just before it died",
			requests: []*Request{
				plain("r", "single", broke(post(0, 0, 1.1, 0, ""))), plain("s", "single", post(1, 0, 9, 200, "a#2"))},
			executions: []Execution{run("r", "a", 1, 0.97, 4), run("s", "a", 2, 3, 5)},
			faults:     []Fault{kill},
			exceptions: 1,
		},
		{
			name: "a slot given on while the engine computes on for a run that was taken over",
			requests: []*Request{
				keyed("r", "engine", post(1, 0, 9, 200, "b#1")),
				plain("s", "engine", post(1, 0, 9, 200, "a#2")), plain("t", "engine", post(1, 0, 9, 200, "a#3")), plain("u", "engine", post(1, 0, 9, 200, "a#4"))},
			executions: []Execution{run("r", "a", 1, 0.2, 9), run("s", "a", 2, 0.3, 9), run("t", "a", 3, 0.4, 9), run("r", "b", 1, 7, 8), run("u", "a", 4, 8.5, 9)},
			faults:     []Fault{fault(StopActivator, 0, 1, 8.4)},
			exceptions: 1, // it ran beside the one that took it over
			want:       "slots",
		},
		{
			name: "one that overtakes an accepted one",
			requests: []*Request{
				async("r", "single", "succeeded", 0, 9), async("s", "single", "succeeded", 2.5, 9)},
			executions: []Execution{run("s", "a", 1, 3, 4), run("r", "a", 2, 5, 6)},
			want:       "order",
		},
		{
			name: "one that overtakes a request that was held without a key",
			requests: []*Request{
				plain("r", "single", post(0, 0, 9, 200, "a#2")), async("s", "single", "succeeded", 4.5, 9)},
			executions: []Execution{run("s", "a", 1, 5, 6), run("r", "a", 2, 6, 7)},
			want:       "order",
		},
		{
			name: "one that comes at the same time",
			requests: []*Request{
				async("r", "single", "succeeded", 0, 9), async("s", "single", "succeeded", 0.5, 9)},
			executions: []Execution{run("s", "a", 1, 3, 4), run("r", "a", 2, 5, 6)},
		},
		{
			name: "one that overtakes while Redis is away",
			requests: []*Request{
				async("r", "single", "succeeded", 0, 9), async("s", "single", "succeeded", 2.5, 9)},
			executions: []Execution{run("s", "a", 1, 3, 4), run("r", "a", 2, 5, 6)},
			faults:     []Fault{fault(StopRedis, 0, 1, 4)},
			exceptions: 1,
		},
		{
			name: "one that overtakes a request without a key whose activator stood still",
			requests: []*Request{
				plain("r", "single", post(0, 0, 40, 200, "a#2")), async("s", "single", "succeeded", 4.5, 29)},
			executions: []Execution{run("s", "a", 1, 27, 28), run("r", "a", 2, 36, 37)},
			faults:     []Fault{fault(StopActivator, 0, 5, 35)},
			exceptions: 1,
		},
		{
			name: "the same, while it was another activator that stood still, or died",
			requests: []*Request{
				plain("r", "single", post(0, 0, 9, 200, "a#2")), async("s", "single", "succeeded", 4.5, 9)},
			executions: []Execution{run("s", "a", 1, 5, 6), run("r", "a", 2, 6, 7)},
			faults:     []Fault{fault(StopActivator, 1, 3, 8), fault(KillActivator, 2, 4, 6)},
			want:       "order",
		},
		{
			name: "one that overtakes an accepted one which may have lost its activator",
			requests: []*Request{
				async("r", "single", "succeeded", 0, 9), async("s", "single", "succeeded", 4.5, 9)},
			executions: []Execution{run("s", "a", 1, 5, 6), run("r", "a", 2, 6, 7)},
			faults:     []Fault{fault(StopActivator, 1, 3, 8)},
			exceptions: 1,
		},
		{
			name: "a late request that was counted",
			requests: []*Request{
				plain("r", "single", post(0, 0, 9, 200, "a#1")), plain("s", "single", post(1, 0, 9, 200, "a#2"))},
			executions: []Execution{run("r", "a", 1, 7, 9), run("s", "a", 2, 6, 8)},
			faults:     []Fault{fault(StopActivator, 0, 1, 7)},
			late:       []int{1},
			exceptions: 1,
		},
		{
			name: "two late requests, of which one was counted",
			requests: []*Request{
				plain("r", "single", post(0, 0, 9, 200, "a#1")), plain("s", "single", post(1, 0, 9, 200, "a#2")),
				plain("t", "single", post(0, 0, 19, 200, "a#3")), plain("u", "single", post(1, 0, 19, 200, "a#4"))},
			executions: []Execution{run("s", "a", 2, 6, 8), run("r", "a", 1, 7, 9), run("u", "a", 4, 16, 18), run("t", "a", 3, 17, 19)},
			faults:     []Fault{fault(StopActivator, 0, 1, 7), fault(StopActivator, 0, 11, 17)},
			late:       []int{1},
			want:       "slots",
			exceptions: 1,
		},
		{
			name:      "something that is left in Redis",
			leftovers: []string{"pl:{single}:queue: it should be empty, and is gone then"},
			want:      "leftovers",
		},
		{
			name:       "an execution of nobody's request",
			executions: []Execution{run("r", "a", 1, 0.1, 0.9)},
			want:       "attempts",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Audit(Evidence{Services: Services, Requests: c.requests, Executions: c.executions, Faults: c.faults, Late: c.late, Leftovers: c.leftovers})
			var rules []string
			for _, x := range v.Violations {
				rules = append(rules, x.Rule)
			}
			if got := strings.Join(rules, " "); got != c.want {
				t.Errorf("violations %v, want %q", v.Violations, c.want)
			}
			n := 0
			for _, times := range v.Exceptions {
				n += times
			}
			if n != c.exceptions {
				t.Errorf("exceptions %v, want %d", v.Exceptions, c.exceptions)
			}
		})
	}
}

func TestAPlanIsTheSameForTheSameSeedAndHasEveryFault(t *testing.T) {
	a, b := plan(3, 90*time.Second, 8*time.Second), plan(3, 90*time.Second, 8*time.Second)
	kinds := map[string]bool{}
	for i, s := range a {
		if s != b[i] {
			t.Fatalf("step %d is %+v, and %+v the second time", i, s, b[i])
		}
		kinds[s.kind] = true
	}
	if len(kinds) != len(often) {
		t.Errorf("kinds %v, want all of %v", kinds, often)
	}
}

func TestAnAnswerIsJudgedByItsParts(t *testing.T) {
	r := &Request{ID: "r", Service: "wide"}
	body := []byte("hello") // CRC-32 3610a686
	for _, c := range []struct{ name, answer, wrong, problem string }{
		{"whole", "r a#1 1/2 5 3610a686 xxx\nr a#1 2/2 5 3610a686\n", "", ""},
		{"a stream", ": pilotlight phase=load\n\ndata: r a#1 1/1 5 3610a686\n\n", "", ""},
		{"a stream that ends with an error", ": pilotlight\n\ndata: {\"error\":{\"code\":\"start-failed\"}}\n\n", "", "start-failed"},
		{"half of it", "r a#1 1/2 5 3610a686\n", "1 parts of 2", ""},
		{"of two executions", "r a#1 1/2 5 3610a686\nr b#1 2/2 5 3610a686\n", "part", ""},
		{"another one's", "s a#1 1/1 5 3610a686\n", "part", ""},
		{"of a body that came in pieces", "r a#1 1/1 4 3610a686\n", "part", ""},
		{"empty", "", "0 parts of 0", ""},
	} {
		call := Call{Status: 200}
		call.judge(r, body, []byte(c.answer))
		if !strings.HasPrefix(call.Wrong, c.wrong) || (call.Wrong == "") != (c.wrong == "") || call.Problem != c.problem {
			t.Errorf("%s: wrong %q, problem %q; want %q, %q", c.name, call.Wrong, call.Problem, c.wrong, c.problem)
		}
	}
}

func TestCommentsOfAStreamAreNoPartOfItsAnswer(t *testing.T) {
	stream := http.Header{"Content-Type": {"text/event-stream"}}
	with := []byte(": pilotlight phase=load\n\ndata: a\n\n: pilotlight phase=ready\n\ndata: b\n\n")
	if got := string(withoutComments(stream, with)); got != "data: a\n\ndata: b\n\n" {
		t.Errorf("got %q", got)
	}
	if got := withoutComments(http.Header{}, with); string(got) != string(with) {
		t.Errorf("of an answer that is no stream %q is left", got)
	}
}
