package nomad

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

// listened returns the namespaces that streams were opened for, each once.
func (b *bubble) listened() []string {
	var namespaces []string
	for _, c := range b.double.Calls("GET", "/v1/event/stream") {
		namespaces = append(namespaces, c.Query.Get("namespace"))
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// least is what the shipped policy gives in some namespaces.
func least(namespaces ...string) nomaddouble.Rights {
	return nomaddouble.Rights{Namespaces: namespaces, NodeRead: true,
		Capabilities: []string{"list-jobs", "read-job", "scale-job", "submit-job", "parse-job", "read-logs"}}
}

func refIn(namespace string) jobs.Ref {
	return jobs.Ref{Namespace: namespace, Job: "translate", Group: "server"}
}

func TestATokenWithRightsInEachNamespaceHearsAStreamOfEach(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.double.SetToken("", least("default", "research"))
		b.watch()
		for _, ns := range []string{"default", "research"} {
			b.ensure(parse(t, translate), refIn(ns))
		}
		time.Sleep(10 * time.Second)
		if at, streaming := b.Heard(); !streaming || time.Since(at) > checkEvery {
			t.Fatalf("streaming %v, heard %v ago; want every stream alive", streaming, time.Since(at))
		}
		for _, ns := range []string{"default", "research"} {
			began := time.Now()
			b.scale(refIn(ns), 1)
			b.until(refIn(ns), "placed", func(o jobs.Observation) bool { return len(o.Allocations) == 1 })
			if took, plan := time.Since(began), nomaddouble.DefaultDelays().Plan; took > plan {
				t.Errorf("%s: seen after %v, want as its stream tells it, after %v", ns, took, plan)
			}
		}
	})
}

func TestANamespaceThatIsRefusedTakesNothingFromTheOthers(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		var logged bytes.Buffer
		b.cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		b.Fleet = b.another()
		b.double.SetToken("", least("default", "research"))
		b.watch()
		for _, ns := range []string{"default", "research"} {
			b.ensure(parse(t, translate), refIn(ns))
			b.scale(refIn(ns), 1)
			b.until(refIn(ns), "running", func(o jobs.Observation) bool { return running(o) == 1 })
		}
		b.double.SetToken("", least("default"))
		b.double.CutStreams()
		revoked := time.Now()
		time.Sleep(10 * time.Minute)
		o := b.observe(refIn("research"))
		if running(o) != 1 || o.At.After(revoked) || !strings.Contains(o.Silence, "the token lacks") || !strings.Contains(o.Silence, `in namespace "research"`) {
			t.Errorf("research: got %+v, want its replica still there, and the right that is missing", o)
		}
		if o := b.observe(refIn("default")); time.Since(o.At) > checkEvery+time.Second || o.Silence != "" || !b.believed(translateKey) {
			t.Errorf("default: got a picture of %v ago (%q), want it untouched", time.Since(o.At), o.Silence)
		}
		if err := b.Scale(t.Context(), refIn("research"), 2, "", nil); !errors.Is(err, jobs.ErrDenied) {
			t.Errorf("scale: got %v, want jobs.ErrDenied", err)
		}
		if n := strings.Count(logged.String(), "level=WARN"); n == 0 || n > 3 {
			t.Errorf("%d warnings in ten minutes, want each cause said once:\n%s", n, &logged)
		}
		b.double.SetToken("", least("default", "research"))
		time.Sleep(time.Minute)
		if o := b.observe(refIn("research")); time.Since(o.At) > checkEvery+time.Second || o.Silence != "" {
			t.Errorf("the right is back: got a picture of %v ago (%q)", time.Since(o.At), o.Silence)
		}
	})
}

func TestWhatNobodyAsksAboutIsForgottenAndNotListenedToAnyMore(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		for _, ns := range []string{"default", "research"} {
			b.ensure(parse(t, translate), refIn(ns))
		}
		for range 2 * forgetAfter / time.Minute {
			time.Sleep(time.Minute)
			b.observe(refIn("default"))
		}
		if got := b.pic.scopes(); !slices.Equal(got, []string{"default"}) || len(b.pic.jobs) != 1 || len(b.turns) != 0 {
			t.Errorf("listens to %v, %d jobs, %d turns; want only what is asked about", got, len(b.pic.jobs), len(b.turns))
		}
		before := len(b.double.Calls("GET", "/v1/allocations"))
		time.Sleep(30 * time.Second)
		for _, c := range b.double.Calls("GET", "/v1/allocations")[before:] {
			if ns := c.Query.Get("namespace"); ns != "default" {
				t.Errorf("namespace %q is still listed", ns)
			}
		}
		b.scale(refIn("research"), 1) // and is there again when somebody asks
		b.until(refIn("research"), "running", func(o jobs.Observation) bool { return running(o) == 1 })
	})
}

func TestManyNamespacesShareOneStream(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		for i := range maxScopes + 1 {
			b.ensure(parse(t, translate), refIn(fmt.Sprintf("team-%d", i)))
		}
		time.Sleep(10 * time.Second)
		if got := b.pic.scopes(); !slices.Equal(got, []string{"*"}) {
			t.Errorf("listens to %v, want to all at once", got)
		}
		b.double.CutStreams()
		time.Sleep(10 * time.Second)
		if _, streaming := b.Heard(); !streaming {
			t.Error("the one stream does not live")
		}
		last := refIn(fmt.Sprintf("team-%d", maxScopes))
		b.scale(last, 1)
		if o := b.until(last, "running", func(o jobs.Observation) bool { return running(o) == 1 }); time.Since(o.At) > checkEvery {
			t.Errorf("picture of %v ago", time.Since(o.At))
		}
	})
}
