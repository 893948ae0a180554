package policies

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const twoSchedules = `
  replicas { max = 6 }
  schedule "office hours" {
    cron = "0 8 * * 1-5"
    zone = "Asia/Shanghai"
    for  = "10h"
    min  = 2
  }
  schedule "batch" {
    cron = "30 1 * * *"
    for  = "90m"
    min  = 6
  }
  metric "waiting" {
    query = "vllm:num_requests_waiting"
    up    = 8
    down  = 1
  }`

func TestEntriesAreReadInOrderOfTheirNamesAndWrittenBack(t *testing.T) {
	p := parseString(t, []byte(policyText(twoSchedules)))
	up, down := 8.0, 1.0
	if diff := cmp.Diff([]Schedule{
		{Name: "batch", Cron: "30 1 * * *", Zone: "UTC", For: 90 * time.Minute, Min: 6},
		{Name: "office hours", Cron: "0 8 * * 1-5", Zone: "Asia/Shanghai", For: 10 * time.Hour, Min: 2},
	}, p.Schedules); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Metric{{Name: "waiting", Source: "metrics", Query: "vllm:num_requests_waiting", Up: &up, Down: &down}}, p.Metrics); diff != "" {
		t.Error(diff)
	}
	want := `
  schedule "batch" {
    cron = "30 1 * * *"
    for  = "1h30m"
    min  = 6
  }
`
	if got := string(Format(p)); !strings.Contains(got, want) || strings.Count(got, "schedule ") != 2 {
		t.Errorf("formatted:\n%s\nwithout%s", got, want)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want = `"schedule":{"batch":{"cron":"30 1 * * *","zone":"UTC","for":"1h30m","min":6},"office hours":{`
	if !strings.Contains(string(text), want) {
		t.Errorf("%s\nwithout %s", text, want)
	}
}

func TestWhatIsWrongWithAnEntryIsSaidWithItsPlace(t *testing.T) {
	for lines, want := range map[string]string{
		"schedule \"a\" {\n cron = \"0 8 * *\"\n for = \"1h\"\n min = 1\n}":                          `5: schedule "a".cron: "0 8 * *" has 4 fields, not 5; allowed: minute, hour, day of month, month and day of week, such as "0 8 * * 1-5"`,
		"schedule \"a\" {\n cron = \"0 8 30 2 *\"\n for = \"1h\"\n min = 1\n}":                       `5: schedule "a".cron: "0 8 30 2 *" never comes: there is no such day or time; allowed: minute, hour, day of month, month and day of week, such as "0 8 * * 1-5"`,
		"schedule \"a\" {\n cron = \"0 25 * * *\"\n for = \"1h\"\n min = 1\n}":                       `5: schedule "a".cron: "0 25 * * *" is not cron: syntax error in hour field: '25'; allowed: minute, hour, day of month, month and day of week, such as "0 8 * * 1-5"`,
		"schedule \"a\" {\n cron = \"0 8 * * *\"\n for = \"1h\"\n min = 1\n zone = \"Mars\"\n}":      `8: schedule "a".zone: "Mars" is not accepted; allowed: a time zone of the IANA database, such as "Europe/Berlin", or "UTC"`,
		"schedule \"a\" {\n cron = \"0 8 * * *\"\n for = \"1h\"\n min = 1\n zone = \"Local\"\n}":     `8: schedule "a".zone: "Local" is not accepted; allowed: a time zone of the IANA database, such as "Europe/Berlin", or "UTC"`,
		"schedule \"a\" {\n cron = \"0 8 * * *\"\n min = 1\n}":                                       `4: schedule "a".for: is required; allowed: how long a window lasts, such as "10h"`,
		"schedule \"a\" {\n cron = \"0 8 * * *\"\n for = \"1h\"\n min = 2\n}":                        `7: schedule "a".min: 2 is above replicas.max; allowed: at most 1`,
		"schedule \"a\" {\n crom = \"0 8 * * *\"\n cron = \"0 8 * * *\"\n for = \"1h\"\n min = 1\n}": `5: schedule "a".crom: is unknown, did you mean "cron"?; allowed: "cron", "zone", "for", "min"`,
		"schedule \"a\" {\n cron = \"0 17-8 * * *\"\n for = \"1h\"\n min = 1\n}":                     `5: schedule "a".cron: "0 17-8 * * *" never comes: there is no such day or time; allowed: minute, hour, day of month, month and day of week, such as "0 8 * * 1-5"`,
		"schedule \"a\" {\n cron = \"5-1 8 * * *\"\n for = \"1h\"\n min = 1\n}":                      `5: schedule "a".cron: "5-1 8 * * *" is not cron: a range holds nothing; allowed: minute, hour, day of month, month and day of week, such as "0 8 * * 1-5"`,
		"schedule {\n}":              `4: schedule: has one name, this one has 0; allowed: schedule "name" { … }`,
		"schedule \"a.b\" {\n}":      `4: schedule: "a.b" is not a name of a schedule; allowed: letters, digits, spaces, "-" and "_", from 1 to 63 characters`,
		"metric \"m\" {\n up = 1\n}": `4: metric "m".query: is required; allowed: the name of one metric: letters, digits, _ and :, not a digit first`,
		"metric \"m\" {\n query = \"rate(x[1m])\"\n up = 1\n}":          `5: metric "m".query: "rate(x[1m])" is not the name of a metric, which it is for source "metrics"; allowed: the name of one metric: letters, digits, _ and :, not a digit first; PromQL is for source "prometheus"`,
		"metric \"m\" {\n query = \"x\"\n}":                             `4: metric "m": changes nothing; allowed: up, down, or both`,
		"metric \"m\" {\n query = \"x\"\n up = 1\n down = 1\n}":         `7: metric "m".down: 1 is not below metric "m".up; allowed: below 1`,
		"metric \"m\" {\n query = \"x\"\n up = 1\n}\nmetric \"m\" {\n}": `8: metric "m": is written twice, first in line 4; allowed: another name`,
	} {
		if diff := cmp.Diff([]string{"translate.hcl:" + want}, problems(t, policyText(lines))); diff != "" {
			t.Errorf("%s:\n%s", lines, diff)
		}
	}
	many := ""
	for i := range MaxMetrics + 3 {
		many += "metric \"m" + string(rune('a'+i)) + "\" {\n query = \"x\"\n up = 1\n}\n"
	}
	if got := problems(t, policyText(many)); len(got) != 1 || !strings.Contains(got[0], "metric: 9 is one too many; allowed: at most 8 metric blocks") {
		t.Errorf("%d metrics: %v", MaxMetrics+3, got)
	}
}

func TestWhatIsWrongWithAnEntryInJSONIsSaidWithItsLine(t *testing.T) {
	_, err := ParseJSON("p.json", []byte(`{"name": "a", "job": "a", "route": {"models": ["a"]},
  "schedule": {"day": {"cron": "0 8 * * *", "for": "1h",
    "min": 5}, "night": 7},
  "metric": [1]}`))
	want := `p.json:3: schedule "day".min: 5 is above replicas.max; allowed: at most 1
p.json:3: schedule: "night" is not a block; allowed: schedule: {"name": { … }}
p.json:4: metric: is a block, not a value; allowed: metric "name" { … }`
	if err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Fatalf("got\n%v\nwant\n%s", err, want)
	}
	for _, line := range strings.Split(want, "\n") {
		if !strings.Contains(err.Error(), line) {
			t.Errorf("no %q in\n%v", line, err)
		}
	}
}

func TestAPolicyBuiltByHandHasEntriesThatADocumentCouldHave(t *testing.T) {
	p := parseString(t, []byte(policyText(twoSchedules)))
	p.Schedules = append(p.Schedules, p.Schedules[0])
	p.Metrics[0].Name = `say "hi"`
	err := p.Validate()
	for _, want := range []string{`schedule "batch": is written twice`, `metric: "say \"hi\"" is not a name of a metric`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestDiffNamesTheEntryAndItsField(t *testing.T) {
	a := parseString(t, []byte(policyText(twoSchedules)))
	b := parseString(t, []byte(policyText(strings.Replace(twoSchedules, "min  = 6", "min  = 5", 1))))
	b.Metrics = nil
	want := []Change{
		{`schedule "batch".min`, "6", "5"},
		{`metric "waiting".source`, `"metrics"`, ""}, {`metric "waiting".query`, `"vllm:num_requests_waiting"`, ""},
		{`metric "waiting".up`, "8", ""}, {`metric "waiting".down`, "1", ""},
	}
	if diff := cmp.Diff(want, Diff(a, b)); diff != "" {
		t.Error(diff)
	}
}
