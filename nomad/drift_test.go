package nomad

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

// As a real agent answers a plan, shortened.
const plannedDiff = `{"Type":"Edited","ID":"translate",
 "Fields":[{"Name":"Priority","Old":"50","New":"60","Type":"Edited"},{"Name":"Stop","Old":"true","New":"false","Type":"Edited"}],
 "TaskGroups":[
  {"Type":"Added","Name":"other","Fields":[{"Name":"Count","Old":"","New":"0","Type":"Added"}],
   "Tasks":[{"Type":"Added","Name":"engine","Fields":[{"Name":"Driver","Old":"","New":"docker","Type":"Added"}]}]},
  {"Type":"Edited","Name":"server",
   "Fields":[{"Name":"Count","Old":"2","New":"0","Type":"Edited","Annotations":["forces destroy"]},{"Name":"ShutdownDelay","Old":"","New":"6000000000","Type":"Added"}],
   "Objects":[{"Name":"Constraint","Type":"Added","Fields":[{"Name":"LTarget","Old":"","New":"${attr.kernel.name}","Type":"Added"}]},
    {"Name":"Update","Type":"Edited","Fields":[{"Name":"MaxParallel","Old":"1","New":"0","Type":"Edited"},{"Name":"Canary","Old":"0","New":"0","Type":"None"}]},
    {"Name":"Network","Type":"Edited","Objects":[{"Name":"Dynamic Port","Type":"Deleted","Fields":[{"Name":"Label","Old":"metrics","New":"","Type":"Deleted"}]}]}],
   "Tasks":[{"Type":"None","Name":"sidecar","Fields":[{"Name":"KillTimeout","Old":"5","New":"5","Type":"None"}]},
    {"Type":"Edited","Name":"model","Annotations":["forces create/destroy update"],
     "Fields":[{"Name":"Env[HF_TOKEN]","Old":"hf_old","New":"hf_new","Type":"Edited"},{"Name":"KillTimeout","Old":"5000000000","New":"90000000000","Type":"Edited"}],
     "Objects":[{"Name":"Config","Type":"Edited","Fields":[{"Name":"args[1]","Old":"","New":"--fast","Type":"Added"},{"Name":"command","Old":"/a","New":"/a","Type":"None"},{"Name":"image","Old":"a","New":"b","Type":"Edited"}]},
      {"Name":"Template","Type":"Edited","Fields":[{"Name":"EmbeddedTmpl","Old":"key=hf_old","New":"key=hf_new","Type":"Edited"}]},
      {"Name":"Resources","Type":"Edited","Fields":[{"Name":"MemoryMaxMB","Old":"0","New":"100","Type":"Edited"},{"Name":"CPU","Old":"20","New":"50","Type":"Edited"}]}]}]}]}`

func TestADifferenceIsWrittenInLinesThatShowNoSecrets(t *testing.T) {
	var diff api.JobDiff
	if err := json.Unmarshal([]byte(plannedDiff), &diff); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`job: priority "50" → "60"`,
		`group other: only in the shipped spec`,
		`group server: shutdown_delay "" → "6s"`,
		`group server: constraint only in the shipped spec`,
		`group server: update.max_parallel "1" → "0"`,
		`group server: network.dynamic_port only in the registered job`,
		`group server, task model: env[HF_TOKEN] differs`,
		`group server, task model: kill_timeout "5s" → "1m30s"`,
		`group server, task model: config.args[1] "" → "--fast"`,
		`group server, task model: config.image "a" → "b"`,
		`group server, task model: template.embedded_tmpl differs`,
		`group server, task model: resources.memory_max_mb "0" → "100"`,
		`group server, task model: resources.cpu "20" → "50"`,
	}
	if diff := cmp.Diff(want, driftLines(&diff)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestALongDifferenceIsCut(t *testing.T) {
	diff := &api.JobDiff{Type: "Edited"}
	for range 100 {
		diff.Fields = append(diff.Fields, &api.FieldDiff{Type: "Edited", Name: "Name", Old: strings.Repeat("ä", 200)})
	}
	lines := driftLines(diff)
	if len(lines) != maxDrift+1 || lines[maxDrift] != "and 60 more" {
		t.Errorf("got %d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if want := `job: name "` + strings.Repeat("ä", maxValue) + `…" → ""`; lines[0] != want {
		t.Errorf("got %s, want %s", lines[0], want)
	}
}

// planning answers plans with a difference that a test sets.
type planning struct {
	next  http.RoundTripper
	diff  string
	asked []string // bodies
}

func (p *planning) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/plan") {
		return p.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.asked = append(p.asked, string(body))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, ContentLength: -1, Body: io.NopCloser(strings.NewReader(`{"Diff":` + p.diff + `}`))}, nil
}

func TestADifferenceIsLookedForWhenSomebodyElseChangesTheJobOnly(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		p := &planning{next: b.http.Transport, diff: `{"Type":"None"}`}
		b.http.Transport = p
		b.watch()
		s := parse(t, translate)
		b.ensure(s, translateRef) // registered: there is no difference
		b.scale(translateRef, 2)
		b.ensure(s, translateRef)
		time.Sleep(time.Minute)
		if len(p.asked) != 0 {
			t.Errorf("planned %d times, want never: nobody else has changed the job", len(p.asked))
		}
		p.diff = `{"Type":"Edited","Fields":[{"Name":"Priority","Old":"50","New":"60","Type":"Edited"}]}`
		job, _, err := b.client.Jobs().Info("translate", nil)
		if err != nil {
			t.Fatal(err)
		}
		job.Priority = new(50)
		job.Meta = map[string]string{"by": "hand"}
		if _, _, err := b.client.Jobs().Register(job, nil); err != nil {
			t.Fatal(err)
		}
		o := b.until(translateRef, "the difference", func(o jobs.Observation) bool { return o.Drift != nil })
		if diff := cmp.Diff([]string{`job: priority "50" → "60"`}, o.Drift); diff != "" {
			t.Errorf("drift (-want +got):\n%s", diff)
		}
		b.ensure(s, translateRef)
		b.scale(translateRef, 1)
		time.Sleep(time.Minute)
		if len(p.asked) != 1 {
			t.Errorf("planned %d times, want once", len(p.asked))
		}
	})
}

func TestWhoMayNotPlanLearnsNoDifferenceAndIsToldOnce(t *testing.T) {
	for _, path := range []string{"/v1/jobs/parse", "/v1/job/translate/plan"} {
		t.Run(path, func(t *testing.T) {
			inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
				s := parse(t, translate)
				b.ensure(s, translateRef)
				var logged bytes.Buffer
				b.cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
				b.Fleet = b.another() // which finds the job
				b.watch()
				b.double.Fail(1000, "PUT", path, 403, "Permission denied")
				for range 3 {
					b.ensure(s, translateRef)
					time.Sleep(time.Minute)
					byHand(t, b, 1) // a version to compare again
				}
				if o := b.observe(translateRef); o.Drift != nil {
					t.Errorf("got %q, want nothing: it is not known", o.Drift)
				}
				if n := strings.Count(logged.String(), "cannot tell how a job differs"); n != 1 || strings.Contains(logged.String(), "level=WARN") {
					t.Errorf("told %d times, want once, at info:\n%s", n, logged.String())
				}
			})
		})
	}
}
