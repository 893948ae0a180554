package web

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// pageOf shows the page of translate in a status.
func pageOf(t *testing.T, change func(*jobs.Status), decided ...decide.Decision) string {
	t.Helper()
	s, services, _ := newTestServer(t)
	status := readyStatus("translate", time.Now())
	status.FleetAt = &status.At
	change(&status)
	services.set(func(f *fakeServices) { f.statuses, f.decided = []jobs.Status{status}, decided })
	return call(s, "GET", "/services/translate", "").Body.String()
}

// part of a page between two texts.
func part(t *testing.T, page, from, to string) string {
	t.Helper()
	i := strings.Index(page, from)
	if i < 0 {
		t.Fatalf("the page has no %q", from)
	}
	n := strings.Index(page[i:], to)
	if n < 0 {
		t.Fatalf("after %q there is no %q", from, to)
	}
	return page[i : i+n]
}

func TestANoticeHasTheWordsOfItsKindItsTimeAndItsDifferencesFolded(t *testing.T) {
	since := time.Now().Add(-3 * time.Minute)
	page := pageOf(t, func(st *jobs.Status) {
		st.Notices = []jobs.Notice{
			{Kind: jobs.NoticeDrift, Text: "the registered job is not the job spec that is known here; it is left as it is", Since: since,
				Detail: []string{`task model: config.image "engine:1" → "engine:2"`, "task sidecar: only in the registered job"}},
			{Kind: jobs.NoticeNodeDraining, Text: "node gpu-1 is being drained", Since: since, Detail: []string{"as it is"}},
			{Kind: "of-tomorrow", Text: "not known to this version", Since: since},
		}
	})
	drift := part(t, page, `data-kind="drift"`, "</li>\n")
	for _, want := range []string{"<h2>Registered job differs</h2>", ">3 min ago</time>", "<p>The registered job is not", "<details", "2 differences",
		`<code>task model: config.image</code> <del>&#34;engine:1&#34;</del> → <ins>&#34;engine:2&#34;</ins>`, "<code>task sidecar: only in the registered job</code>"} {
		if !strings.Contains(drift, want) {
			t.Errorf("no %q in\n%s", want, drift)
		}
	}
	if strings.Contains(drift, "<details open") || strings.Contains(drift, "button") {
		t.Errorf("it is unfolded, or offers something:\n%s", drift)
	}
	if draining := part(t, page, `class="notice warn" data-kind="node-draining"`, "</li>"); !strings.Contains(draining, "as it is\n</pre>") {
		t.Errorf("node-draining:\n%s", draining)
	}
	if !strings.Contains(page, "<h2>of-tomorrow</h2>") {
		t.Error("a kind that is not known is not shown by its name")
	}
}

func TestOnlyWhatIsWrittenAsADifferenceIsTakenApart(t *testing.T) {
	for line, want := range map[string]difference{
		`group server: count "1" → "2"`:                   {"group server: count", `"1"`, `"2"`},
		`task a: config.args[0] "say \"hi\" → x" → ""`:    {"task a: config.args[0]", `"say \"hi\" → x"`, `""`},
		`task a: env[TOKEN] differs`:                      {Field: `task a: env[TOKEN] differs`},
		`group "old": only in the registered job`:         {Field: `group "old": only in the registered job`},
		`task a: user "x" → "y" and more`:                 {Field: `task a: user "x" → "y" and more`},
		`and 12 more`:                                     {Field: `and 12 more`},
		`task a: config.command "/bin/a → "`:              {Field: `task a: config.command "/bin/a → "`},
		`task a: config.command "unfinished`:              {Field: `task a: config.command "unfinished`},
		`task model: resources.memory_mb "1024" → "2048"`: {"task model: resources.memory_mb", `"1024"`, `"2048"`},
	} {
		if diff := cmp.Diff(want, differenceOf(line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

var headButtons = regexp.MustCompile(`data-dialog>([^<]*)</a>`)

func buttonsIn(html string) []string {
	var out []string
	for _, found := range headButtons.FindAllStringSubmatch(html, -1) {
		out = append(out, found[1])
	}
	return out
}

func TestAStoppedJobIsSaidAndResumeSaysWhatItWillDo(t *testing.T) {
	stopped := func(st *jobs.Status) {
		st.State, st.Replicas, st.Demand = jobs.StatePaused, jobs.ReplicaCounts{}, jobs.DemandCounts{}
		st.Blocked = ptr("stopped in Nomad at 07:00:00")
		st.Notices = []jobs.Notice{{Kind: jobs.NoticeStopped, Text: *st.Blocked, Since: st.At}}
	}
	page := pageOf(t, stopped)
	if !strings.Contains(page, `<p class="sentence s-paused">Stopped in Nomad: nothing is launched until the job is started again or the service is resumed.`) {
		t.Errorf("the sentence is\n%s", part(t, page, `class="sentence`, "</p>"))
	}
	if got := buttonsIn(part(t, page, `id="notices"`, "</ul>")); !cmp.Equal(got, []string{"Resume"}) {
		t.Errorf("with the notice: %v, want Resume", got)
	}
	if got := buttonsIn(part(t, page, `class="head"`, "</div>\n</div>")); !cmp.Equal(got, []string{"Pin"}) {
		t.Errorf("beside the name: %v, want only Pin", got)
	}

	s, services, _ := newTestServer(t)
	status := readyStatus("translate", time.Now())
	stopped(&status)
	services.set(func(f *fakeServices) { f.statuses = []jobs.Status{status} })
	asks := call(s, "GET", "/services/translate/resume", "").Body.String()
	if want := "Job translate-apertium is started again in Nomad, with count 0, as it was registered last; if it was purged, the job spec that Pilotlight has of it is registered."; !strings.Contains(asks, want) {
		t.Errorf("the confirmation does not say %q", want)
	}
	if row := part(t, call(s, "GET", "/", "").Body.String(), `data-key="translate"`, "</tr>"); !strings.Contains(row, "stopped in Nomad at 07:00:00") || !strings.Contains(row, ">Resume<") {
		t.Errorf("the fleet's line:\n%s", row)
	}
}

func TestAPinIsToldFromTheStatusAndCanBeTakenBack(t *testing.T) {
	until := time.Now().Add(28*time.Minute + 30*time.Second)
	byHand := jobs.Notice{Kind: jobs.NoticeChangedByHand, Text: "count set to 2 by hand: held", Since: time.Now()}
	for _, test := range []struct {
		name   string
		change func(*jobs.Status)
		title  string // "": none
		head   []string
		tag    string
	}{
		{"not pinned", func(*jobs.Status) {}, "", []string{"Sleep", "Pause", "Pin"}, ""},
		{"by an operator", func(st *jobs.Status) { st.Pinned = ptr(2) }, "Pinned to 2 replicas", []string{"Sleep", "Pause", "Pin"}, "pinned to 2"},
		{"by hand", func(st *jobs.Status) {
			st.Pinned, st.PinnedUntil, st.Notices = ptr(1), &until, []jobs.Notice{byHand}
		}, "Pinned to 1 replica by hand, until " + until.UTC().Format("15:04:05") + " UTC (in 28 min)", []string{"Sleep", "Pause", "Pin"}, "pinned to 1"},
		{"by hand, unsaid", func(st *jobs.Status) { st.Pinned, st.PinnedUntil = ptr(1), &until },
			"Pinned to 1 replica by hand, until", []string{"Sleep", "Pause", "Pin"}, "pinned to 1"},
		{"to nothing", func(st *jobs.Status) {
			st.Pinned, st.State, st.Replicas, st.Blocked = ptr(0), jobs.StatePaused, jobs.ReplicaCounts{}, ptr("pinned to 0 by ada: maintenance")
		}, "Pinned to 0 replicas", []string{"Pin"}, "pinned to 0"},
	} {
		page := pageOf(t, test.change, decide.Decision{Service: "translate", Rule: "pinned"}) // which says nothing any more
		if got := strings.Count(page, "/services/translate/unpin"); (got == 1) != (test.title != "") || got > 1 {
			t.Errorf("%s: Unpin is offered %d times", test.name, got)
		}
		if got := buttonsIn(part(t, page, `class="head"`, "</div>\n</div>")); !cmp.Equal(got, test.head) {
			t.Errorf("%s: %v beside the name, want %v", test.name, got, test.head)
		}
		if test.title != "" && !strings.Contains(page, "<h2>"+test.title) {
			t.Errorf("%s: no notice %q", test.name, test.title)
		}
		status := readyStatus("translate", time.Now())
		test.change(&status)
		tags := strings.Join(service{Status: status}.noticeTags(), ", ")
		if tags != test.tag {
			t.Errorf("%s: the fleet's line has %q, want %q", test.name, tags, test.tag)
		}
	}
	page := pageOf(t, func(st *jobs.Status) {
		st.Pinned, st.State, st.Replicas, st.Blocked = ptr(0), jobs.StatePaused, jobs.ReplicaCounts{}, ptr("pinned to 0 by ada: maintenance")
	})
	if !strings.Contains(page, "Held at 0: pinned to 0 by ada: maintenance. While no replica is ready, requests are refused.") {
		t.Errorf("the sentence is\n%s", part(t, page, `class="sentence`, "</p>"))
	}
}

func TestABlockSaysWhatItIsAndWhatToDoAboutItsKind(t *testing.T) {
	const room = "no free GPU: 2 nodes, 0 of 4 nvidia/gpu free"
	told := func(kind, why string, ago time.Duration) decide.Decision {
		return decide.Decision{Service: "translate", At: time.Now().Add(-ago), Rule: "blocked", Reason: "0 of 1 replicas ready: " + why, Inputs: map[string]any{"blocked": kind}}
	}
	blocked := func(why string) func(*jobs.Status) {
		return func(st *jobs.Status) {
			st.State, st.Blocked, st.Replicas = jobs.StateBlocked, &why, jobs.ReplicaCounts{Wanted: 1}
		}
	}
	for _, test := range []struct {
		name    string
		change  func(*jobs.Status)
		decided []decide.Decision
		want    string // of the advice; "": no advice
	}{
		{"ready", func(*jobs.Status) {}, []decide.Decision{told(blockNoCapacity, room, time.Second)}, ""},
		{"no room", blocked(room), []decide.Decision{told(blockNoCapacity, room, time.Hour)}, "as soon as there is room"},
		{"no room, other figures just now", blocked("no free GPU: 3 nodes"), []decide.Decision{told(blockNoCapacity, room, time.Minute)}, "as soon as there is room"},
		{"of another time", blocked("permission denied"), []decide.Decision{told(blockNoCapacity, room, time.Hour)}, "doctor"},
		{"no right", blocked("permission denied"), []decide.Decision{told(blockDenied, "permission denied", time.Second), told(blockNoCapacity, room, time.Minute)}, "names each missing right"},
		{"a deployment, not told yet", func(st *jobs.Status) {
			blocked("a deployment is active")(st)
			st.Notices = []jobs.Notice{{Kind: jobs.NoticeDeployment, Text: "a deployment is active"}}
		}, nil, "nomad job deployments translate-apertium"},
		{"dies while it starts", blocked("exit code 1"), []decide.Decision{told(blockStartFailed, "exit code 1", time.Second)}, "Wake tries at once"},
		{"stopped, which is told apart", func(st *jobs.Status) {
			st.State, st.Blocked, st.Notices = jobs.StatePaused, ptr("stopped"), []jobs.Notice{{Kind: jobs.NoticeStopped, Text: "stopped"}}
		}, nil, ""},
	} {
		page := pageOf(t, test.change, test.decided...)
		if strings.Contains(page, `id="block"`) != (test.want != "") {
			t.Errorf("%s: advice shown %v", test.name, test.want == "")
			continue
		}
		if test.want != "" && !strings.Contains(part(t, page, `id="block"`, "</div>"), test.want) {
			t.Errorf("%s: no %q in\n%s", test.name, test.want, part(t, page, `id="block"`, "</div>"))
		}
	}
	short := pageOf(t, func(st *jobs.Status) { st.Blocked, st.Replicas.Wanted = ptr(room), 2 }, told(blockNoCapacity, room, time.Second))
	if got := part(t, short, `id="block"`, "</div>"); !strings.Contains(got, "No free GPU: 2 nodes, 0 of 4 nvidia/gpu free.") {
		t.Errorf("ready with fewer than wanted, it is not said why:\n%s", got)
	}
}

func TestAnOldPictureOfNomadIsSaidOnceWithItsAge(t *testing.T) {
	old := func(st *jobs.Status) { st.FleetAt = ptr(st.At.Add(-12 * time.Second)) }
	for name, change := range map[string]func(*jobs.Status){
		"without a notice": old,
		"with one": func(st *jobs.Status) {
			old(st)
			st.Notices = []jobs.Notice{{Kind: jobs.NoticeFleetSilent, Text: "the fleet has not been heard", Since: st.At}}
		},
	} {
		page := pageOf(t, change)
		if got := strings.Count(page, `data-kind="fleet-silent"`); got != 1 {
			t.Errorf("%s: said %d times", name, got)
			continue
		}
		if got := part(t, page, `data-kind="fleet-silent"`, "</li>"); !strings.Contains(got, "what is shown is <time data-since") || !strings.Contains(got, ">12 s</time> old") {
			t.Errorf("%s: no age in\n%s", name, got)
		}
	}
	for name, change := range map[string]func(*jobs.Status){
		"heard":              func(*jobs.Status) {},
		"heard a second ago": func(st *jobs.Status) { st.FleetAt = ptr(st.At.Add(-time.Second)) },
		"at rest, reported and heard a minute ago": func(st *jobs.Status) { st.At = st.At.Add(-time.Minute); st.FleetAt = &st.At },
		"not told": func(st *jobs.Status) { st.FleetAt = nil },
	} {
		if strings.Contains(pageOf(t, change), `data-kind="fleet-silent"`) {
			t.Errorf("%s: its picture counts as old", name)
		}
	}
	s, services, _ := newTestServer(t)
	status := readyStatus("translate", time.Now())
	old(&status)
	services.set(func(f *fakeServices) { f.statuses = []jobs.Status{status} })
	if page := call(s, "GET", "/", "").Body.String(); !strings.Contains(part(t, page, `id="heard"`, "</p>"), ">12 s</time> old") {
		t.Error("the fleet's page does not say it")
	}
}

func TestAReplicaShowsItsNodeItsProgressItsGPUAndItsLastWords(t *testing.T) {
	page := pageOf(t, func(st *jobs.Status) {
		known := st.Replicas.List[0]
		known.GPUMemoryUsedBytes, known.GPUMemoryTotalBytes = ptr(54.0*(1<<30)), ptr(80.0*(1<<30))
		silent := jobs.Replica{ID: "silent", Node: "gpu-2", Phase: jobs.Ready, GPUUnknownReason: "its node's agent does not answer"}
		pulling := jobs.Replica{ID: "pulling", Node: "gpu-3", Phase: jobs.Starting, Progress: "Docker image pull progress: 3 of 8 layers"}
		failed := jobs.Replica{ID: "failed", Node: "gpu-4", Phase: jobs.Gone, Failure: "exit code 1\nCUDA out of memory"}
		st.Replicas.List = []jobs.Replica{known, silent, pulling, failed}
	})
	for id, wants := range map[string][]string{
		"0f0e0d0c-aaaa-bbbb-cccc-000000000001": {"gpu-1", ">63<small>", ">54<small>&#8239;GiB", ">80<small>&#8239;GiB", `class="fill" width="67.5"`},
		"silent":                               {"gpu-2", `<details class="unknown-why"><summary title="its node&#39;s agent does not answer">unknown</summary><p>its node&#39;s agent does not answer</p></details>`},
		"pulling":                              {"gpu-3", "Docker image pull progress: 3 of 8 layers", "unknown: measured while it is ready"},
		"failed":                               {"gpu-4", "Last words", "exit code 1\nCUDA out of memory</pre>"},
	} {
		row := part(t, page, `data-key="`+id+`"`, "</tr>")
		for _, want := range wants {
			if !strings.Contains(row, want) {
				t.Errorf("%s: no %q in\n%s", id, want, row)
			}
		}
	}
	unknown := pageOf(t, func(st *jobs.Status) { st.GPU, st.GPUWhy = nil, ptr("publish_allocation_metrics is off") })
	if !strings.Contains(part(t, unknown, "<dt>GPU</dt>", "</div>"), ">unknown</summary><p>publish_allocation_metrics is off</p>") {
		t.Error("the service's own figure is unknown without a reason to read")
	}
}
