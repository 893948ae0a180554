package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
)

// promisedMetrics are those of web/dashboards/metrics.txt with their labels.
func promisedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	content, err := os.ReadFile("../../web/dashboards/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string][]string{}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" {
			list[fields[0]] = fields[1:]
		}
	}
	return list
}

var (
	series     = regexp.MustCompile(`(?m)^(pilotlight_[a-z0-9_]+?)(_bucket|_sum|_count)?(?:\{(.*)\})? \S+$`)
	labelNames = regexp.MustCompile(`([a-z_]+)="`)
)

// scrape adds to seen the labels of each metric of this project that a process
// serves now.
func (h *house) scrape(t *testing.T, promised, seen map[string][]string) {
	t.Helper()
	a := send(t.Context(), http.MethodGet, h.metrics+"/metrics", "", nil)
	a.want(t, http.StatusOK)
	for _, found := range series.FindAllStringSubmatch(a.body, -1) {
		name := found[1]
		if _, whole := promised[name+found[2]]; whole {
			name += found[2]
		}
		for _, label := range labelNames.FindAllStringSubmatch(found[3], -1) {
			if !slices.Contains(seen[name], label[1]) {
				seen[name] = append(seen[name], label[1])
			}
		}
		if _, known := seen[name]; !known {
			seen[name] = nil
		}
	}
}

// A wake, an answer, a retry, a refusal, and a service that is kept at zero: what
// comes of it is every metric that dashboards and rules may ask for, and no other.
func TestEveryMetricThatIsPromisedIsServedAndNoOther(t *testing.T) {
	t.Parallel()
	promised, seen := promisedMetrics(t), map[string][]string{}
	nomadOnly := []string{"pilotlight_fleet_picture_age_seconds", "pilotlight_nomad_calls_total"}
	h := startDev(t, pairs{"translate": {
		policy: policyOf("translate", replicas(0, 1, 2), toZero("10m"),
			"gpu {\n    source = \"metrics\"\n  }",
			"scale_down {\n    drain_timeout = \"1s\"\n  }",
			"cost {\n    gpu = \"1x 80GB\"\n    usd_per_hour = 2.5\n  }"),
		job: stubJob("translate", "--gpu-util", "42.5", "--latency", "1500ms"),
	}}.arguments(t)...)
	if err := h.translate(t.Context(), "/translate", "first").check("first"); err != nil {
		t.Fatal(err)
	}
	st := h.awaitService(t, "translate", "ready, with a known utilization", func(st jobs.Status) bool {
		return ready(1)(st) && st.GPU != nil
	})
	h.scrape(t, promised, seen)
	if states := h.metric(t, "pilotlight_slots"); len(states) != 4 {
		t.Errorf("slots %v, want free, leased, granted and quarantined ones", states)
	}
	second := inBackground(func() answer { return h.translate(t.Context(), "/translate", "second") })
	h.awaitService(t, "translate", "serving", func(st jobs.Status) bool { return st.Demand.InFlight == 1 })
	killReplica(t, st.Replicas.List[0].ID)
	if err := second.get(t).check("second"); err != nil {
		t.Fatal(err)
	}
	send(t.Context(), http.MethodGet, h.data+"/nobody", "", nil).want(t, http.StatusNotFound)
	cut := inBackground(func() answer { return h.translate(t.Context(), "/translate", "cut") })
	h.awaitService(t, "translate", "serving", func(st jobs.Status) bool { return st.Demand.InFlight == 1 })
	h.operate(t, "translate", jobs.VerbPin, 0)
	await(t, "every metric", func() error {
		h.scrape(t, promised, seen)
		for _, name := range slices.Sorted(maps.Keys(promised)) {
			if _, there := seen[name]; !there && !slices.Contains(nomadOnly, name) {
				return fmt.Errorf("%s is not served", name)
			}
		}
		return nil
	})
	cut.get(t) // whatever it was told
	for name, labels := range seen {
		want, known := promised[name]
		if !known {
			t.Errorf("%s %v is served and not in web/dashboards/metrics.txt", name, labels)
			continue
		}
		if slices.Sort(labels); !slices.Equal(labels, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s has labels %v, promised are %v", name, labels, want)
		}
	}
}

func TestAScalerOverNomadServesTheMetricsOfItsNomad(t *testing.T) {
	overBoth(t, func(t *testing.T, c *cluster) {
		promised, seen := promisedMetrics(t), map[string][]string{}
		id, job := c.task(t, "translate")
		h := startServe(t, "scaler", append(pairs{"translate": {runs(id, policyOf("translate", replicas(0, 1, 1))), job}}.arguments(t),
			"--redis", startRedis(t).URL(), "--nomad", c.address)...)
		await(t, "the metrics of Nomad", func() error {
			h.scrape(t, promised, seen)
			for _, name := range []string{"pilotlight_fleet_picture_age_seconds", "pilotlight_nomad_calls_total", "pilotlight_dependency_up"} {
				if labels, there := seen[name]; !there || len(labels) != len(promised[name]) {
					return fmt.Errorf("%s %v is served, want labels %v", name, labels, promised[name])
				}
			}
			return nil
		})
	})
}
