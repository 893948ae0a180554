package web

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// metricsServed are those that processes serve on /metrics, with their labels; the
// end-to-end tests hold processes to the same file.
func metricsServed(t *testing.T) map[string][]string {
	t.Helper()
	content, err := os.ReadFile("dashboards/metrics.txt")
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
	metricUse = regexp.MustCompile(`(pilotlight_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	labelUse  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	groupUse  = regexp.MustCompile(`by \(([^)]*)\)`)
	histogram = regexp.MustCompile(`_seconds_(bucket|sum|count)$`)
)

// checkQuery reports metrics and labels that do not exist.
func checkQuery(t *testing.T, where, query string) (used []string) {
	t.Helper()
	metrics := metricsServed(t)
	var labels []string // of all metrics in the query, for its groupings
	for _, found := range metricUse.FindAllStringSubmatch(query, -1) {
		name := histogram.ReplaceAllString(found[1], "_seconds")
		known, there := metrics[name]
		if !there {
			t.Errorf("%s: no metric is called %s", where, found[1])
		}
		for _, label := range labelUse.FindAllStringSubmatch(found[2], -1) {
			if !slices.Contains(known, label[1]) {
				t.Errorf("%s: %s has no label %s", where, name, label[1])
			}
		}
		labels, used = append(labels, known...), append(used, name)
	}
	for _, group := range groupUse.FindAllStringSubmatch(query, -1) {
		for _, label := range strings.Split(group[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(label)) {
				t.Errorf("%s: grouped by %s, which is no label of its metrics", where, label)
			}
		}
	}
	return used
}

func TestTheGrafanaDashboardUsesOnlyMetricsThatExist(t *testing.T) {
	content, err := os.ReadFile("dashboards/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title, Description string
			Targets            []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(content, &board); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, panel := range board.Panels {
		if panel.Title == "" || panel.Description == "" || len(panel.Targets) == 0 {
			t.Errorf("panel %q lacks a title, a description or a query", panel.Title)
		}
		for _, target := range panel.Targets {
			for _, name := range checkQuery(t, panel.Title, target.Expr) {
				used[name] = true
			}
		}
	}
	for _, name := range []string{"pilotlight_blocked", "pilotlight_fleet_picture_age_seconds", "pilotlight_nomad_calls_total"} {
		if !used[name] {
			t.Errorf("%s is not shown", name)
		}
	}
	if len(used) < 15 {
		t.Errorf("only %v are shown: does the test still see the queries?", slices.Sorted(maps.Keys(used)))
	}
}

func TestTheAlertRulesUseOnlyMetricsThatExistAndSayWhatIsWrong(t *testing.T) {
	content, err := os.ReadFile("dashboards/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules := strings.Split(string(content), "- alert: ")[1:]
	if len(rules) < 5 {
		t.Fatalf("%d rules: does the test still see them?", len(rules))
	}
	for _, rule := range rules {
		name, rest, _ := strings.Cut(rule, "\n")
		_, rest, _ = strings.Cut(rest, "expr: ")
		query, rest, found := strings.Cut(rest, "labels: {severity: ")
		if !found || len(checkQuery(t, name, query)) == 0 {
			t.Errorf("%s has no query or no severity", name)
		}
		if !strings.Contains(rest, "summary: ") {
			t.Errorf("%s does not say what is wrong", name)
		}
	}
}
