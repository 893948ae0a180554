package activator

import (
	"bufio"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// startingStatus is a service whose one replica loads and is expected in so many
// seconds: by 50 past starts, which differ by a fifth either way.
func startingStatus(service string, seconds float64) jobs.Status {
	left := &jobs.Estimate{P10: 0.8 * seconds, P50: seconds, P90: 1.2 * seconds, Seen: 50}
	return jobs.Status{Name: service, State: jobs.StateWaking, At: time.Now(), Replicas: jobs.ReplicaCounts{Wanted: 1, Starting: 1},
		Coming: []jobs.Coming{{Phase: jobs.PhaseLoad, Slots: 8, Left: left}}, Start: left}
}

// waits counts the connections here that wait for a durable request.
func (w *world) waits(service string) int {
	w.act.waiting.mu.Lock()
	defer w.act.waiting.mu.Unlock()
	return len(w.act.waiting.of[service])
}

// about reports whether an estimate is what was said some moments ago.
func about(got *float64, want float64) bool {
	return got != nil && *got <= want && *got > want-15
}

func TestEveryPlaceThatTellsATimeTellsTheSame(t *testing.T) {
	w := newWorld(t, strings.Replace(beatingPolicy, `hold { heartbeat = "1s" }`, "hold {\n heartbeat = \"1s\"\n max_requests = 2\n}", 1))
	w.statuses.set(startingStatus("chat", 41))
	resp, err := http.DefaultClient.Do(w.request(t.Context(), "POST", "/v1/chat/completions", strings.NewReader(chat), "Content-Type", "application/json"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	line, _ := bufio.NewReader(resp.Body).ReadString('\n')
	m := regexp.MustCompile(`^: pilotlight phase=load eta_s=(\d+) position=1\n$`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("heartbeat %q", line)
	}
	if s, _ := strconv.ParseFloat(m[1], 64); !about(&s, 41) {
		t.Errorf("heartbeat %q", line)
	}

	var state requestState
	accepted := w.do("POST", "/v1/chat/completions", chat, "Prefer", "respond-async")
	if err := json.Unmarshal([]byte(accepted.body), &state); err != nil || accepted.StatusCode != 202 || state.Phase != jobs.PhaseLoad || !about(state.ETA, 41) || state.Position != 2 {
		t.Errorf("202: %d %s", accepted.StatusCode, accepted.body)
	}
	polled := w.do("GET", accepted.Header.Get("Location"), "")
	if err := json.Unmarshal([]byte(polled.body), &state); err != nil || polled.StatusCode != 202 || !about(state.ETA, 41) {
		t.Errorf("poll: %d %s", polled.StatusCode, polled.body)
	}
	health := w.do("GET", "/health?service=chat", "")
	var h serviceHealth
	if err := json.Unmarshal([]byte(health.body), &h); err != nil || !about(h.ETA, 41) || h.Held != 1 {
		t.Errorf("health: %s", health.body)
	}
	full := w.do("POST", "/v1/chat/completions", `{"model":"m"}`)
	after, _ := strconv.ParseFloat(full.Header.Get("Retry-After"), 64)
	if full.StatusCode != 429 || !about(&after, 42) || !strings.Contains(full.body, "a slot is expected in about") {
		t.Errorf("429: %d %v %s", full.StatusCode, full.Header, full.body)
	}

	st := startingStatus("chat", 41)
	reason := "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free"
	st.State, st.Blocked, st.Coming[0].Phase, st.Coming[0].Left = jobs.StateBlocked, &reason, jobs.PhasePlace, nil
	w.statuses.set(st)
	if a := w.do("GET", "/health?service=chat", ""); !strings.Contains(a.body, `"eta_s":null`) || !strings.Contains(a.body, reason) {
		t.Errorf("health while nothing can be placed: %s", a.body)
	}
	if a := w.do("GET", accepted.Header.Get("Location"), ""); strings.Contains(a.body, "eta_s") || !strings.Contains(a.body, `"phase":"place"`) {
		t.Errorf("poll while nothing can be placed: %s", a.body)
	}
	if a := w.do("POST", "/v1/chat/completions", `{"model":"m"}`); a.Header.Get("Retry-After") != "10" || !strings.Contains(a.body, reason) || strings.Contains(a.body, "expected") {
		t.Errorf("429 while nothing can be placed: %v %s", a.Header, a.body)
	}
}

func TestAtRestATimeIsToldByWholeStartsOrNotAtAll(t *testing.T) {
	w := newWorld(t)
	if a := w.do("GET", "/health?service=translate", ""); !strings.Contains(a.body, `"eta_s":null`) {
		t.Errorf("nothing is known: %s", a.body)
	}
	st := startingStatus("translate", 60)
	st.State, st.Replicas, st.Coming = jobs.StateZero, jobs.ReplicaCounts{}, nil
	w.statuses.set(st)
	if a := w.do("GET", "/health?service=translate", ""); !strings.Contains(a.body, `"eta_s":60,`) {
		t.Errorf("a start takes 60 s: %s", a.body)
	}
	st.State = jobs.StatePaused
	w.statuses.set(st)
	if a := w.do("GET", "/health?service=translate", ""); !strings.Contains(a.body, `"eta_s":null`) {
		t.Errorf("paused: %s", a.body)
	}
	if a := w.do("POST", "/translate", hello); a.StatusCode != 503 || a.Header.Get("Retry-After") != "60" || strings.Contains(a.body, "eta_s") {
		t.Errorf("paused: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	w.replica("translate", "r1", 1, echo(new(atomic.Int64)))
	st.State, st.Replicas.Ready = jobs.StateReady, 1
	w.statuses.set(st)
	w.do("POST", "/translate", hello)
	if a := w.do("GET", "/health?service=translate", ""); !strings.Contains(a.body, `"eta_s":0,`) {
		t.Errorf("a slot is free: %s", a.body)
	}
}

func TestADeadlineThatIsPastHopeIsAnsweredAtOnce(t *testing.T) {
	w := newWorld(t)
	held := w.async("POST", "/translate", hello, "Pilotlight-Deadline", "60s") // nothing is on its way: it is what wakes
	keyed := w.async("POST", "/translate", hello, "Pilotlight-Deadline", "60s", "Idempotency-Key", "k")
	patient := w.async("POST", "/translate", hello, "Pilotlight-Deadline", "5m")
	w.untilHeld("translate", 3)
	w.until("the keyed one waits", func() bool { return w.waits("translate") == 1 })
	w.statuses.set(startingStatus("translate", 120)) // 96 s at the soonest
	for what, a := range map[string]answer{
		"held":      w.get(held),
		"keyed":     w.get(keyed),
		"new":       w.do("POST", "/translate", hello, "Pilotlight-Deadline", "60s"),
		"new keyed": w.do("POST", "/translate", hello, "Pilotlight-Deadline", "60s", "Idempotency-Key", "k2"),
		"new async": w.do("POST", "/translate", hello, "Pilotlight-Deadline", "60s", "Prefer", "respond-async"),
	} {
		var p problem
		after, _ := strconv.Atoi(a.Header.Get("Retry-After"))
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.StatusCode != 504 || p.Type != "urn:pilotlight:problem:deadline-passed" ||
			!about(p.ETA, 120) || after <= 105 || after > 120 || !strings.Contains(p.Detail, "cannot be met any more: a slot is expected in about 1") {
			t.Errorf("%s: %d %v %s", what, a.StatusCode, a.Header, a.body)
		}
	}
	w.untilHeld("translate", 1)
	if c := w.act.countersNow(time.Now()).Services["translate"]; time.Since(c.LastDemand) > 10*time.Second {
		t.Errorf("last demand %v", c.LastDemand)
	}
	w.replica("translate", "r1", 1, echo(new(atomic.Int64)))
	if a := w.get(patient); a.StatusCode != 200 {
		t.Errorf("the patient one: %d %s", a.StatusCode, a.body)
	}
	w.until("nobody waits", func() bool { return w.act.cfg.Queue.Standings()[0].Held == 0 })
	later := time.Now().Add(time.Minute)
	if c := w.act.countersNow(later).Services["translate"]; !c.LastDemand.Equal(later.UTC()) {
		t.Errorf("a minute later the last demand is %v: who was told to come back in two is not expected", c.LastDemand)
	}
	later = time.Now().Add(3 * time.Minute)
	if c := w.act.countersNow(later).Services["translate"]; c.LastDemand.After(time.Now()) {
		t.Errorf("three minutes later the last demand is %v", c.LastDemand)
	}
}

func TestNobodyIsRefusedForAGuess(t *testing.T) {
	few := startingStatus("translate", 120)
	few.Coming[0].Left.Seen = 4
	blocked := startingStatus("translate", 120)
	blocked.Coming[0].Left = nil
	zero := startingStatus("translate", 120)
	zero.State, zero.Coming, zero.Replicas = jobs.StateZero, nil, jobs.ReplicaCounts{}
	old := startingStatus("translate", 120)
	old.At = time.Now().Add(-time.Minute)
	for name, st := range map[string]jobs.Status{"few starts were seen": few, "nobody can place it": blocked, "nothing is on its way": zero,
		"the scaler is silent": old, "the deadline may be met": startingStatus("translate", 1)} {
		w := newWorld(t)
		w.statuses.set(st)
		ctx := t.Context()
		go func() {
			w.send(w.request(ctx, "POST", "/translate", strings.NewReader(hello), "Pilotlight-Deadline", "30s"))
		}()
		w.until(name, func() bool { return w.held("translate") == 1 })
		w.statuses.set(st)
		w.statuses.set(st)
		w.until("the first is taken in", func() bool { return len(w.statuses.changes) == 0 })
		if n := w.held("translate"); n != 1 {
			t.Errorf("%s: %d are held, want 1", name, n)
		}
	}
}
