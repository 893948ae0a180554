package web

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// pictureOld is how old a fleet's picture may be before it is said: what is shown
// of replicas and counts is then from that time.
const pictureOld = 10 * time.Second

// noticeKinds are the kinds of notices with their words and their weight, "bad",
// "warn" or "" (to know, not to act on).
var noticeKinds = map[string]struct{ title, tag, weight string }{
	jobs.NoticeChangedByHand: {"Count changed by hand", "changed by hand", "warn"},
	jobs.NoticeDeployed:      {"Job registered again", "registered again", ""},
	jobs.NoticeDeployment:    {"Deployment in the way", "deployment", "warn"},
	jobs.NoticeStopped:       {"Stopped in Nomad", "stopped in Nomad", "bad"},
	jobs.NoticeNodeDraining:  {"Node draining", "node draining", "warn"},
	jobs.NoticeDrift:         {"Registered job differs", "differs from its spec", ""},
	jobs.NoticeMetricUnknown: {"Metric unknown", "metric unknown", "warn"},
	jobs.NoticeMetricWarned:  {"Prometheus warns", "metric with a warning", "warn"},
	jobs.NoticeFleetSilent:   {"Nomad is not heard", "Nomad not heard", "bad"},
}

// noticeRow is a notice as a service's page shows it.
type noticeRow struct {
	Kind, Title, Weight string
	Text                string
	Since               time.Time
	Old                 time.Time // when the fleet was heard last, if that is what it is about
	Differences         []difference
	Lines               []string // of its detail, if they are no differences
	Action              *verbButton
}

// difference is one line of a drift: what the registered job has, and what the
// job spec has. Without From it is whole in Field.
type difference struct{ Field, From, To string }

// differenceOf takes a line such as `task model: config.image "a" → "b"` apart;
// what is written in another way stays whole.
func differenceOf(line string) difference {
	field, values, found := strings.Cut(line, ` "`)
	if from, err := strconv.QuotedPrefix(`"` + values); found && err == nil {
		to, arrow := strings.CutPrefix((`"` + values)[len(from):], " → ")
		if quoted, err := strconv.QuotedPrefix(to); arrow && err == nil && quoted == to {
			return difference{field, from, to}
		}
	}
	return difference{Field: line}
}

// has reports whether there is a notice of that kind.
func (svc service) has(kind string) bool {
	return slices.ContainsFunc(svc.Notices, func(n jobs.Notice) bool { return n.Kind == kind })
}

// pictureAt is when the fleet was heard last, if that was long before the report
// was made; else zero.
func (svc service) pictureAt() time.Time {
	if svc.FleetAt == nil || svc.At.Sub(*svc.FleetAt) < pictureOld {
		return time.Time{}
	}
	return *svc.FleetAt
}

// noticeRows are the notices with what can be done about each, and the pin, which
// is one too.
func (svc service) noticeRows(now time.Time) []noticeRow {
	var rows []noticeRow
	unsaid := svc.Pinned != nil
	for _, n := range svc.Notices {
		row := noticeOf(n)
		switch {
		case n.Kind == jobs.NoticeStopped && svc.Policy != nil:
			row.Action = svc.action(jobs.VerbResume)
		case n.Kind == jobs.NoticeChangedByHand && unsaid && svc.PinnedUntil != nil:
			row.Title, unsaid = svc.pinTitle(now), false
			row.Action = svc.action(jobs.VerbUnpin)
		case n.Kind == jobs.NoticeFleetSilent:
			row.Old = svc.pictureAt()
		}
		rows = append(rows, row)
	}
	if at := svc.pictureAt(); !at.IsZero() && !svc.has(jobs.NoticeFleetSilent) {
		row := noticeOf(jobs.Notice{Kind: jobs.NoticeFleetSilent, Text: "Replicas and counts are from then.", Since: at})
		row.Old = at
		rows = append(rows, row)
	}
	if unsaid {
		text := "By an operator, until it is unpinned, whatever the demand."
		if svc.PinnedUntil != nil {
			text = "The count was set in Nomad itself; it is held whatever the demand."
		}
		rows = append(rows, noticeRow{Kind: "pinned", Title: svc.pinTitle(now), Weight: "warn", Text: text, Action: svc.action(jobs.VerbUnpin)})
	}
	return rows
}

func noticeOf(n jobs.Notice) noticeRow {
	row := noticeRow{Kind: n.Kind, Title: n.Kind, Text: sentence(n.Text), Since: n.Since}
	if words, known := noticeKinds[n.Kind]; known {
		row.Title, row.Weight = words.title, words.weight
	}
	if n.Kind != jobs.NoticeDrift {
		row.Lines = n.Detail
		return row
	}
	for _, line := range n.Detail {
		row.Differences = append(row.Differences, differenceOf(line))
	}
	return row
}

func (svc service) action(verb string) *verbButton {
	if svc.Policy == nil {
		return nil
	}
	button := svc.button(verb)
	return &button
}

// pinTitle is "Pinned to 2 replicas by hand, until 14:05:00 UTC (in 28 min)".
func (svc service) pinTitle(now time.Time) string {
	title := "Pinned to " + plural(*svc.Pinned, "replica")
	if svc.PinnedUntil == nil {
		return title
	}
	title += " by hand, until " + svc.PinnedUntil.UTC().Format("15:04:05") + " UTC"
	if left := svc.PinnedUntil.Sub(now); left > 0 {
		title += " (in " + span(left.Truncate(time.Second)) + ")"
	}
	return title
}

// noticeTags are what a line of the fleet has room for: a pin, and each kind of
// notice once. That the fleet is not heard is said above all lines.
func (svc service) noticeTags() []string {
	var tags []string
	if svc.Pinned != nil {
		tags = append(tags, fmt.Sprintf("pinned to %d", *svc.Pinned))
	}
	for _, n := range svc.Notices {
		tag := n.Kind
		if words, known := noticeKinds[n.Kind]; known {
			tag = words.tag
		}
		if n.Kind == jobs.NoticeFleetSilent || n.Kind == jobs.NoticeChangedByHand && svc.PinnedUntil != nil || slices.Contains(tags, tag) {
			continue
		}
		tags = append(tags, tag)
	}
	return tags
}

// oldestPicture is when the fleet was heard last for the service about which that
// was longest ago; zero if it is heard.
func oldestPicture(fleet []service) time.Time {
	var oldest time.Time
	for _, svc := range fleet {
		if at := svc.pictureAt(); !at.IsZero() && !svc.Stale && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest
}

// sentence begins with a capital and ends with a point: what a fleet says may be
// neither.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	r := []rune(text)
	first := strings.ToUpper(string(r[0]))
	if len(r) > 1 && r[1] >= 'A' && r[1] <= 'Z' { // a name
		first = string(r[0])
	}
	text = first + string(r[1:])
	if strings.ContainsAny(text[len(text)-1:], ".!?") {
		return text
	}
	return text + "."
}
