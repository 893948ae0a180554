package soak

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
)

// Evidence is all that Audit judges.
type Evidence struct {
	Services   []Service
	Requests   []*Request
	Executions []Execution
	Faults     []Fault
	Late       []int    // by activator: late requests that it has counted itself
	Leftovers  []string // what is left in Redis and should not be
}

// Request is one request as its client knows it, from its first call to its last
// reader.
type Request struct {
	ID      string // X-Request-Id, and what executions are logged with
	Service string
	Keyed   bool
	Async   bool
	Sent    time.Time
	// Accepted is when its client knew that it was: 202 was received. Zero: never,
	// or not in such words.
	Accepted time.Time
	Settled  time.Time // when its client was done with it
	Ticket   string    // id of an async one
	State    string    // final, of an async one: succeeded, failed, cancelled
	Reason   string    // of a final state that is not succeeded
	Calls    []Call
}

// Call is one exchange of a request, or of one who reads its answer.
type Call struct {
	What      string // POST, state, result, DELETE, again
	Activator int
	At, Until time.Time
	Status    int
	Problem   string // its name, of an answer of Pilotlight's own
	Detail    string // of the problem, in words
	Err       string // no whole answer came
	Refused   bool   // nobody listened: nothing was sent
	HungUp    bool   // the client went
	Execution string // that wrote the answer
	Wrong     string // what is wrong with the answer: not whole, not of one execution, not ours
	Sum       uint32 // of the answer's body
}

// Answered: a replica's answer was received whole.
func (c Call) Answered() bool {
	return c.Err == "" && !c.HungUp && c.Problem == "" && c.Status == 200
}

// Execution of a request at a replica.
type Execution struct {
	RequestID string
	Replica   string
	Name      string // replica#n
	From      time.Time
	To        time.Time // zero: its replica died with it
	Cancelled bool      // its client had gone
}

// Kinds of faults.
const (
	KillActivator = "kill activator"
	StopActivator = "stop activator" // SIGSTOP to SIGCONT
	KillScaler    = "kill scaler"    // its replicas die with it
	StopScaler    = "stop scaler"
	KillReplica   = "kill replica"
	KillRedis     = "kill redis"
	RestartRedis  = "restart redis" // SIGTERM
	StopRedis     = "stop redis"    // SIGSTOP to SIGCONT
)

// Fault is what the plan did to a process: From is just before the signal, To when
// it worked again.
type Fault struct {
	Kind     string
	Index    int    // of the activator or scaler
	Replica  string // of KillReplica
	From, To time.Time
}

func (f Fault) String() string {
	who := ""
	switch f.Kind {
	case KillActivator, StopActivator, KillScaler, StopScaler:
		who = fmt.Sprintf(" %d", f.Index)
	case KillReplica:
		who = " " + f.Replica
	}
	return fmt.Sprintf("%s%s %s to %s", f.Kind, who, clock(f.From), clock(f.To))
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("15:04:05.000")
}

// readExecutions pairs the starts and ends that replicas have logged.
func readExecutions(file string) ([]Execution, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var out []Execution
	at := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e stub.Execution
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return out, fmt.Errorf("log of executions: %w in %q", err, lines.Text())
		}
		name := fmt.Sprintf("%s#%d", e.Replica, e.N)
		if e.Event == stub.EventStarted {
			at[name] = len(out)
			out = append(out, Execution{RequestID: e.RequestID, Replica: e.Replica, Name: name, From: e.Time})
			continue
		}
		i, ok := at[name]
		if !ok {
			return nil, fmt.Errorf("log of executions: %s ends and has not begun", name)
		}
		out[i].To, out[i].Cancelled = e.Time, e.Event == stub.EventCancelled
	}
	return out, nil
}
