package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

var tuesday = time.Date(2026, 11, 17, 0, 0, 0, 0, time.UTC)

// aDay has a request a minute from eight to noon that takes about 3 s.
func aDay() *fakeRecordings {
	var hours []jobs.RecordedHour
	for hour := 8; hour < 12; hour++ {
		h := jobs.RecordedHour{Start: tuesday.Add(time.Duration(hour) * time.Hour)}
		for minute := range 60 {
			h.Arrive(h.Start.Add(time.Duration(minute)*time.Minute), 1)
			h.Took(3, 1)
		}
		hours = append(hours, h)
	}
	return &fakeRecordings{hours: map[string][]jobs.RecordedHour{"translate": hours}, lacking: time.Hour}
}

// running is a server whose Run runs until the test ends.
func running(t *testing.T, change ...func(*Config)) (*Server, *fakeServices) {
	t.Helper()
	s, services, _ := newTestServer(t, change...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return s, services
}

const onTuesday = "from=2026-11-17T00:00:00Z&to=2026-11-18T00:00:00Z"

// draftText1 keeps a replica for two minutes, not half a one.
var draftText1 = strings.Replace(translateText, `after = "30s"`, `after = "2m"`, 1)

func TestADraftIsTriedOnWhatWasAskedAgainstThePolicyInForce(t *testing.T) {
	recordings := aDay()
	s, services := running(t, func(c *Config) { c.Recordings = recordings })
	services.set(func(f *fakeServices) {
		for i := range 8 {
			f.starts = append(f.starts, coldStart("translate", fmt.Sprint(i), tuesday, 5, 500, 0, 1500, 20_000+1000*float64(i), 10, 800))
		}
	})
	w := call(s, "POST", "/api/v1/policies/translate/simulate?wait=30&"+onTuesday, draftText1, asHCL)
	wantStatus(t, w, 200)
	info := decode[SimulationInfo](t, w)
	if info.State != simulationDone || info.Report == nil {
		t.Fatalf("it stands as %s", w.Body)
	}
	o := info.Over
	if *o.Requests != 240 || *o.SlotTimes != 240 || *o.CoveredS != 23*3600 || o.ColdStarts != 8 || math.Abs(o.ColdStartS-25.5) > 1e-9 || !o.ComparedWithLive {
		t.Errorf("tried on %+v", o)
	}
	var names []string
	for _, r := range info.Report.Results {
		names = append(names, r.Name)
		if drawn := r.Name == simulate.DraftName || r.Name == simulate.LiveName; drawn != (len(r.Series) > 100) {
			t.Errorf("%s has a series of %d points", r.Name, len(r.Series))
		}
	}
	want := []string{"draft", "live", "fixed-5m", "fixed-10m", "fixed-15m", "kpa", "hpa-keda", "nomad-as", "single-5m", "always-on"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("ways to scale:\n%s", diff)
	}
	draft, live := info.Report.Results[0], info.Report.Results[1]
	if draft.ColdStarted != 1 || live.ColdStarted < 50 || draft.GPUSeconds <= live.GPUSeconds {
		t.Errorf("with two minutes %d requests start cold for %.0f GPU-s, with half a one %d for %.0f", draft.ColdStarted, draft.GPUSeconds, live.ColdStarted, live.GPUSeconds)
	}
	if wait := live.AddedWait.P50; wait < 20 || wait > 35 {
		t.Errorf("half of the requests wait %.1f s, though starts take 22 to 29 s", wait)
	}

	// What is exported replays alike.
	recording, _, err := s.recording(t.Context(), "translate", window{tuesday, tuesday.Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := recording.Write(&text, false); err != nil {
		t.Fatal(err)
	}
	trace, err := simulate.NewTrace(&text, "t", simulate.DefaultDurations(), 1)
	if err != nil {
		t.Fatal(err)
	}
	list, err := policies.Parse("", []byte(draftText1))
	if err != nil {
		t.Fatal(err)
	}
	setup := simulate.DefaultSetup()
	setup.ColdStart, setup.Launch, setup.Begins, setup.Lasts = 25500*time.Millisecond, 0, tuesday, 24*time.Hour
	for i := range 8 { // oldest first
		setup.ColdStarts = append(setup.ColdStarts, 22+float64(7-i))
		setup.Learned = append(setup.Learned, 22.815+float64(7-i))
	}
	rep, err := simulate.Replay(t.Context(), trace, setup, []simulate.Candidate{simulate.Policy(simulate.DraftName, list[0])}, nil)
	if err != nil {
		t.Fatal(err)
	}
	alone, whole := rep.Results[0], draft.Result
	alone.Series, whole.Series = nil, nil
	if diff := cmp.Diff(alone, whole); diff != "" {
		t.Errorf("by hand from the exported trace, and here:\n%s", diff)
	}
}

func TestADraftOfAnotherJobIsComparedAtEachOnesGPUs(t *testing.T) {
	s, _ := running(t, func(c *Config) {
		c.Recordings = aDay()
		c.GPUs = func(p *policies.Policy) int { return p.Replicas.Max }
	})
	draft := strings.Replace(draftText1, "max         = 3", "max         = 6", 1)
	if draft == draftText1 {
		t.Fatal("the draft has the bound of the policy in force")
	}
	w := call(s, "POST", "/api/v1/policies/translate/simulate?wait=30&cold_start=20s&"+onTuesday, draft, asHCL)
	wantStatus(t, w, 200)
	report := decode[SimulationInfo](t, w).Report
	if report == nil {
		t.Fatal(w.Body)
	}
	// One replica at a time serves a request a minute; twice as dear, and kept longer.
	own, live := report.Results[0], report.Results[1]
	if perLaunch := live.GPUSeconds / float64(live.Launches); perLaunch < 3*50 || perLaunch > 3*60 {
		t.Errorf("each launch of the policy in force costs %.0f GPU-s: it has three GPUs and lives for 50 to 60 s", perLaunch)
	}
	if share := own.BusyShare * own.GPUSeconds / 6; math.Abs(share-live.BusyShare*live.GPUSeconds/3) > 0.05*share {
		t.Errorf("the draft is busy for %.1f replica-seconds a slot, the policy in force %.1f, with the same requests", share, live.BusyShare*live.GPUSeconds/3)
	}
}

func TestTheSentenceOfASimulationSaysWhoWaitedLongestWhereHardlyAnybodyWaits(t *testing.T) {
	rep := &simulate.Report{Requests: 1279, Results: []simulate.Result{
		{GPUSeconds: 756, ColdStarted: 8, AddedWait: simulate.Wait{Max: 2.9}}, {GPUSeconds: 864, ColdStarted: 9, AddedWait: simulate.Wait{Max: 3.1}}}}
	over := SimulationOver{LiveVersion: 3, ComparedWithLive: true}
	want := "The draft would have used 0.21 GPU-hours, 12 % less than the policy in force (0.24); 8 of 1,279 requests would have waited for a start, the longest 2.90 s (in force: 9, and 3.10 s)."
	if got := foundOut(rep, over); got != want {
		t.Errorf("it says\n%s\nnot\n%s", got, want)
	}
	rep.Results[1].AddedWait.P99 = 1.5
	if got := foundOut(rep, over); !strings.HasSuffix(got, "and the slowest hundredth 0 s or more (in force: 9, and 1.50 s).") {
		t.Errorf("where the policy in force lets more wait it says %s", got)
	}
}

func TestThePageSaysThatALengthOfColdStartsWasAskedForAndDoesNotCallItAGuess(t *testing.T) {
	s, _ := running(t, func(c *Config) { c.Recordings = aDay() })
	for query, want := range map[string]string{
		"":                "Cold starts take 120 s as a median, which is a guess",
		"&cold_start=90s": "Cold starts take 90.0 s as a median, as was asked for",
	} {
		w := call(s, "POST", "/api/v1/policies/translate/simulate?wait=30&"+onTuesday+query, draftText1, asHCL)
		wantStatus(t, w, 200)
		page := call(s, "GET", "/policies/translate/simulations/"+decode[SimulationInfo](t, w).ID, "")
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("with %q the page does not say %q", query, want)
		}
	}
}

func TestASimulationKnowsTheTimeOfDay(t *testing.T) {
	s, _ := running(t, func(c *Config) { c.Recordings = aDay() })
	scheduled := strings.Replace(translateText, "  to_zero {", "  schedule \"evening\" {\n    cron = \"0 20 * * 2\"\n    for  = \"1h\"\n    min  = 2\n  }\n  to_zero {", 1)
	w := call(s, "POST", "/api/v1/policies/translate/simulate?wait=30&cold_start=20s&"+onTuesday, scheduled, asHCL)
	wantStatus(t, w, 200)
	info := decode[SimulationInfo](t, w)
	if info.Report == nil {
		t.Fatal(w.Body)
	}
	for _, p := range info.Report.Results[0].Series {
		hour := p.AtS / 3600
		if hour > 20.05 && hour < 20.95 && p.Ready != 2 || (hour > 12.1 && hour < 19.9 || hour > 21.1) && p.Ready != 0 {
			t.Errorf("%d replicas are ready %.2f hours into Tuesday", p.Ready, hour)
		}
	}
}

func TestWhatCannotBeTriedSaysWhyAndWhatCan(t *testing.T) {
	s, _ := running(t, func(c *Config) { c.Recordings = aDay() })
	for query, want := range map[string]string{
		"from=2026-11-18T00:00:00Z&to=2026-11-19T00:00:00Z": "nobody is known to have asked for translate from 2026-11-18 00:00 to 2026-11-19 00:00 UTC; 23h of that time was recorded. Choose another time, or a trace: azure-llm-2023-code",
	} {
		w := call(s, "POST", "/api/v1/policies/translate/simulate?"+query, draftText1, asHCL)
		wantStatus(t, w, 422)
		if p := decode[Problem](t, w); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %s", query, p.Detail)
		}
	}
	wrong := strings.Replace(translateText, "max         = 3", "max         = -3", 1)
	w := call(s, "POST", "/api/v1/policies/translate/simulate", wrong, asHCL)
	wantStatus(t, w, 422)
	if p := decode[Problem](t, w); len(p.Errors) != 1 || p.Errors[0].Field != "replicas.max" {
		t.Errorf("a wrong draft: %s", w.Body)
	}
}

func TestHowFarASimulationOfANamedTraceIsIsKnown(t *testing.T) {
	s, _, _ := newTestServer(t) // nothing runs
	w := call(s, "POST", "/api/v1/policies/translate/simulate?trace=sdsc-http-1995-minutes", draftText1, asHCL)
	wantStatus(t, w, 202)
	i := decode[SimulationInfo](t, w)
	if p := i.Progress; p.Of == nil || *p.Of != 86400 || p.Share == nil || *p.Share != 0 || i.Over.Requests == nil || *i.Over.Requests != 28_338 {
		t.Errorf("it stands as %s", w.Body)
	}
	j := s.simulations.find(i.ID)
	j.moved(12*time.Hour, 28_338/4)
	if share := j.info(time.Now()).Progress.Share; share == nil || math.Abs(*share-0.25) > 1e-3 {
		t.Errorf("share %v after half of the time and a quarter of the requests, want 0.25", share)
	}
}

func TestTheEditorLeadsToASimulationAndBackWithTheDraft(t *testing.T) {
	s, _ := running(t, func(c *Config) { c.Recordings = aDay() })
	form := func(target string, values url.Values) (int, string, string) {
		w := call(s, "POST", target, values.Encode(), "Content-Type: application/x-www-form-urlencoded")
		return w.Code, w.Header().Get("Location"), w.Body.String()
	}
	code, _, page := form("/policies/translate", url.Values{"do": {"simulate"}, "base": {"1"}, "text": {draftText1}, "over": {"last=24h"}})
	if code != 422 || !strings.Contains(page, "Nobody is known to have asked for translate") || !strings.Contains(page, `after = &#34;2m&#34;`) {
		t.Errorf("without demand: %d, and the page does not say so or has lost the text", code)
	}
	code, _, page = form("/policies/translate", url.Values{"do": {"simulate"}, "base": {"1"}, "text": {"policy {"}, "over": {"last=24h"}})
	if code != 422 || !strings.Contains(page, "to put right") {
		t.Errorf("a wrong draft: %d", code)
	}
	priced := strings.TrimSuffix(strings.TrimSpace(draftText1), "}") + "  cost {\n    usd_per_hour = 3600\n  }\n}\n"
	code, at, _ := form("/policies/translate", url.Values{"do": {"simulate"}, "base": {"1"}, "text": {priced}, "over": {"trace=azure-llm-2023-code"}, "sweep": {"true"}})
	if code != 303 || !strings.HasPrefix(at, "/policies/translate/simulations/") {
		t.Fatalf("%d to %q", code, at)
	}
	id := at[strings.LastIndex(at, "/")+1:]
	for deadline := time.Now().Add(time.Minute); ; {
		w := call(s, "GET", "/api/v1/simulations/"+id+"?wait=30", "")
		if i := decode[SimulationInfo](t, w); i.State == simulationDone {
			break
		} else if i.Reason != nil || time.Now().After(deadline) {
			t.Fatalf("it stands as %s", w.Body)
		}
	}
	w := call(s, "GET", at, "")
	wantStatus(t, w, 200)
	report := decode[SimulationInfo](t, call(s, "GET", "/api/v1/simulations/"+id, "")).Report
	if usd := fmt.Sprintf(`<td class="n">%.2f</td>`, report.Results[0].GPUSeconds); !strings.Contains(w.Body.String(), usd) || strings.Contains(w.Body.String(), "%!") {
		t.Errorf("the page does not say %s for a GPU that costs 1 USD a second", usd)
	}
	for _, part := range []string{"The draft would have used ", "Tried on the trace azure-llm-2023-code, 8,819 requests: demand of others",
		"which is a guess: this service has none of its own", "p99 added wait against GPU-hours", `class="live"`, "<polyline class=\"curve c0\"",
		"Replicas and held requests over time: live", "The curve as a table", `<th scope="row" class="n">16</th>`, `<option value="trace=azure-llm-2023-code" selected>`, "after = &#34;2m&#34;", "Back to the editor"} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if page := w.Body.String(); strings.Index(page, "p99 wait, s") > strings.Index(page, ">Cold-started<") {
		t.Error("a telephone shows who was cold-started, and not how long they waited")
	}
	if strings.Contains(w.Body.String(), `http-equiv="refresh"`) {
		t.Error("a page of what is over reads itself again")
	}
	wantStatus(t, call(s, "GET", "/policies/other/simulations/"+id, ""), 404)
	wantStatus(t, call(s, "GET", "/policies/translate/simulations/none", ""), 404)
}

func TestThePageOfASimulationThatWaitsReadsItselfAgainAndCanBeCancelled(t *testing.T) {
	s, _, _ := newTestServer(t, func(c *Config) { c.Recordings = aDay() })
	i := decode[SimulationInfo](t, call(s, "POST", "/api/v1/policies/translate/simulate?"+onTuesday, draftText1, asHCL))
	at := "/policies/translate/simulations/" + i.ID
	page := call(s, "GET", at, "").Body.String()
	for _, part := range []string{`<noscript><meta http-equiv="refresh" content="1"></noscript>`, "<progress", "Waiting for another simulation",
		"from 2026-11-17 00:00 to 2026-11-18 00:00 UTC: 240 requests. Of 1h of that time nothing is known"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if w := call(s, "POST", at, ""); w.Code != 303 || w.Header().Get("Location") != at {
		t.Errorf("cancel: %d %v", w.Code, w.Header())
	}
	if page := call(s, "GET", at, "").Body.String(); !strings.Contains(page, "Cancelled: it was cancelled.") || strings.Contains(page, "refresh") {
		t.Error("the page does not say that it is cancelled")
	}
}

func TestASimulationIsAsItsDescriptionSays(t *testing.T) {
	s, _ := running(t, func(c *Config) { c.Recordings = aDay() })
	w := call(s, "POST", "/api/v1/policies/translate/simulate?wait=30&"+onTuesday, draftText1, asHCL)
	var value any
	if err := json.Unmarshal(w.Body.Bytes(), &value); err != nil {
		t.Fatal(err)
	}
	schemas := apiSchemasOf(t, s)
	if err := disagreement(schemas, schemas["SimulationInfo"].(map[string]any), "SimulationInfo", "simulation", value, map[string]bool{}); err != nil {
		t.Error(err)
	}
}
