package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/stub"
	"github.com/pilotlight/pilotlight/jobs"
)

func needApertium(t *testing.T) {
	t.Helper()
	modes, _ := filepath.Glob("/usr/share/apertium/modes/eng-spa*.mode")
	if _, err := exec.LookPath("apertium-apy"); err != nil || len(modes) == 0 {
		t.Skip("Apertium is missing (Debian: apt-get install apertium-apy apertium-eng-spa)")
	}
}

var curlInGreeting = regexp.MustCompile(`(?m)^ +(curl .*)$`)

func TestThePrintedCurlLineWakesApertiumFromZeroAndBringsRealSpanish(t *testing.T) {
	skipIfShort(t)
	needApertium(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is missing")
	}
	server := startRedis(t)
	h := startDev(t, "--redis", server.URL())
	if st := h.service(t, "translate"); !atZero(st) || st.Replicas.Wanted != 0 {
		t.Fatalf("before any request: %s, want zero replicas", short(st))
	}
	m := curlInGreeting.FindStringSubmatch(h.said.String())
	if m == nil {
		t.Fatalf("no curl line in the greeting:\n%s", h.said)
	}

	// While it is held its ticket is in Redis.
	done := make(chan struct{})
	var out []byte
	var failure error
	begun := time.Now()
	go func() {
		defer close(done)
		out, failure = exec.CommandContext(t.Context(), "bash", "-c", m[1]).Output()
	}()
	tickets := map[string]bool{}
	for held := true; held; {
		for _, key := range server.tickets(t, "translate") {
			tickets[key] = true
		}
		select {
		case <-done:
			held = false
		default:
		}
	}
	took := time.Since(begun)
	answered := time.Now()
	if failure != nil {
		t.Fatalf("curl: %v", failure)
	}
	if len(tickets) != 1 {
		t.Errorf("tickets seen in Redis while it was held: %v, want one", tickets)
	}
	if left := server.tickets(t, "translate"); len(left) > 0 {
		await(t, "the ticket to leave Redis", func() error {
			if left := server.tickets(t, "translate"); len(left) > 0 {
				return fmt.Errorf("still %v", left)
			}
			return nil
		})
	}
	first := parseResponse(t, string(out))
	first.wantSpanish(t)
	if got := first.header.Get("Pilotlight-Cold-Start"); got != "true" {
		t.Errorf("Pilotlight-Cold-Start: %q, want true", got)
	}
	timing := serverTiming(t, first.header)
	if sum := timing["hold"] + timing["cold"] + timing["upstream"]; sum > took || timing["cold"] == 0 {
		t.Errorf("Server-Timing %q adds up to %v; the whole took %v and was cold", first.header.Get("Server-Timing"), sum, took)
	}

	// The cold start is there to be read.
	var starts []jobs.ColdStart
	await(t, "the cold start to be readable", func() error {
		if starts = h.coldStarts(t, "translate"); len(starts) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	readable := time.Since(answered)
	t.Logf("cold start of %v readable %v after the answer", took, readable)
	if readable > time.Second+machineSlack {
		t.Errorf("cold start readable only %v after the answer, want 1s", readable)
	}
	if starts[0].Outcome != jobs.OutcomeAnswered || starts[0].RequestsWaiting != 1 ||
		starts[0].Replica != first.header.Get("Pilotlight-Replica") {
		t.Errorf("cold start %+v, want one answered request at replica %s", starts[0], first.header.Get("Pilotlight-Replica"))
	}
	for _, phase := range []string{jobs.PhasePlace, jobs.PhaseStart, jobs.PhaseLoad} {
		if !slices.ContainsFunc(starts[0].Phases, func(p jobs.ColdStartPhase) bool { return p.Name == phase }) {
			t.Errorf("cold start without phase %s: %+v", phase, starts[0].Phases)
		}
	}

	second := h.translate(t.Context(), "/translate", "Hello, how are you today?")
	second.wantSpanish(t)
	if got := second.header.Get("Pilotlight-Cold-Start"); got != "false" {
		t.Errorf("the next one: Pilotlight-Cold-Start: %q, want false", got)
	}
	if timing := serverTiming(t, second.header); timing["cold"] != 0 || timing["hold"] != 0 {
		t.Errorf("the next one waited: %q", second.header.Get("Server-Timing"))
	}
}

// machineSlack is what a busy machine may add to a time that is promised.
const machineSlack = 2 * time.Second

func (a answer) wantSpanish(t *testing.T) {
	t.Helper()
	a.want(t, http.StatusOK)
	var got struct {
		Translation string `json:"translation"`
		TargetLang  string `json:"target_lang"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if text := strings.ToLower(got.Translation); !strings.Contains(text, "hola") || !strings.Contains(text, "hoy") || got.TargetLang != "es" {
		t.Errorf("translation %+v is not the Spanish of a greeting", got)
	}
}

// parseResponse reads what curl -i prints.
func parseResponse(t *testing.T, text string) answer {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("curl printed no answer: %v\n%s", err, text)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

var timingPart = regexp.MustCompile(`(\w+);dur=([0-9.]+)`)

// serverTiming by name.
func serverTiming(t *testing.T, h http.Header) map[string]time.Duration {
	t.Helper()
	parts := map[string]time.Duration{}
	for _, m := range timingPart.FindAllStringSubmatch(h.Get("Server-Timing"), -1) {
		ms, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		parts[m[1]] = time.Duration(ms * float64(time.Millisecond))
	}
	if len(parts) != 3 {
		t.Errorf("Server-Timing: %q, want hold, cold and upstream", h.Get("Server-Timing"))
	}
	return parts
}

func TestTheFirstRequestAfterTheGreetingIsUnderstood(t *testing.T) {
	t.Parallel()
	for range 3 {
		h := greetedDev(t, t.TempDir(), "--engine", "stub")
		if err := h.translate(t.Context(), "/translate", "at once").check("at once"); err != nil {
			t.Error(err)
		}
		h.stop(t)
	}
}

func TestTwoHundredAtOnceFromZeroStartAllReplicasTogetherAndNeverExceedTheirSlots(t *testing.T) {
	t.Parallel()
	const requests, concurrency, most = 200, 2, 3
	log := filepath.Join(t.TempDir(), "executions")
	h := startDev(t, pairs{"translate": {
		policy: policyOf("translate", replicas(0, most, concurrency), toZero("10m")),
		job:    stubJob("translate", "--load", "1s", "--latency", "60ms", "--log-file", log),
	}}.arguments(t)...)

	answers := make([]later, requests)
	for i := range answers {
		answers[i] = inBackground(func() answer { return h.translate(t.Context(), "/translate", fmt.Sprint("text ", i)) })
	}
	byReplica := map[string]int{}
	firstByte := time.Now().Add(time.Hour)
	for i, l := range answers {
		a := l.get(t)
		if err := a.check(fmt.Sprint("text ", i)); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		byReplica[a.header.Get("Pilotlight-Replica")]++
		if end := a.begun.Add(a.took); end.Before(firstByte) {
			firstByte = end
		}
	}
	if len(byReplica) != most {
		t.Errorf("answers by replica: %v, want all %d to have worked", byReplica, most)
	}
	st := h.service(t, "translate")
	if len(st.Replicas.List) != most {
		t.Fatalf("replicas: %s, want %d", short(st), most)
	}
	total := 0
	for _, r := range st.Replicas.List {
		stats := statsOf(t, r.Address)
		if stats.MaxInFlight > concurrency {
			t.Errorf("replica %s was once given %d requests, want at most %d", r.ID, stats.MaxInFlight, concurrency)
		}
		total += int(stats.Finished)
		// Because of the backlog, not one after another.
		if !r.Launched.Before(firstByte) {
			t.Errorf("replica %s was launched at %v, after the first answer at %v", r.ID, r.Launched, firstByte)
		}
	}
	if total != requests || count(executions(t, log), stub.EventStarted, "") != requests {
		t.Errorf("%d executions were answered for %d requests", total, requests)
	}
	for _, d := range h.decisions(t, "translate") {
		t.Logf("decision %d → %d at %s (%s): %s", d.From, d.To, d.At.Format(time.StampMilli), d.Rule, d.Reason)
	}
}
