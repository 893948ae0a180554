package scaler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// silentAfter is how old the fleet's picture may be before it counts as cut off.
const silentAfter = 10 * time.Second

// keepPassing bounds the notices of what has happened.
const keepPassing = 5

// passing is a notice of something that happened; it is shown for a while.
type passing struct {
	jobs.Notice
	Until time.Time `json:"until"`
}

// pass shows a notice of something that has just happened.
func (s *service) pass(now time.Time, kind, text string) {
	s.passed = append(s.passed, passing{jobs.Notice{Kind: kind, Text: text, Since: now.UTC()}, now.Add(passes)})
	s.passed = s.passed[max(0, len(s.passed)-keepPassing):]
	s.changed, s.learned = true, true
}

// notices is what an operator should know now, newest first. Each lasts as long
// as its cause.
func (s *service) notices(now time.Time) []jobs.Notice {
	list := []jobs.Notice{}
	s.passed = slices.DeleteFunc(s.passed, func(p passing) bool { return !now.Before(p.Until) })
	for _, p := range s.passed {
		list = append(list, p.Notice)
	}
	if h := s.hand; h != nil {
		text := fmt.Sprintf("count set to %d by hand", h.Count)
		if h.By != "" {
			text += " (" + h.By + ")"
		}
		text += fmt.Sprintf(": held until %s, or until an operator unpins it", h.Until.UTC().Format("15:04:05"))
		list = append(list, jobs.Notice{Kind: jobs.NoticeChangedByHand, Text: text, Since: h.At.UTC()})
	}
	lasting := map[string]bool{}
	last := func(kind, text string, detail []string) {
		lasting[kind] = true
		since, ok := s.noticed[kind]
		if !ok {
			since = now.UTC()
			if s.noticed == nil {
				s.noticed = map[string]time.Time{}
			}
			s.noticed[kind] = since
		}
		list = append(list, jobs.Notice{Kind: kind, Text: text, Detail: detail, Since: since})
	}
	if s.out != nil {
		list = append(list, jobs.Notice{Kind: jobs.NoticeStopped, Text: s.outWhy(), Since: s.out.Since.UTC()})
	}
	switch {
	case s.seen.Deployment != "":
		last(jobs.NoticeDeployment, s.seen.Deployment, nil)
	case s.refused.kind == kindDeployment:
		last(jobs.NoticeDeployment, s.refused.why, nil)
	}
	if text := s.drainingNodes(); text != "" {
		last(jobs.NoticeNodeDraining, text, nil)
	}
	if n := len(s.seen.Drift); n > 0 {
		last(jobs.NoticeDrift, "the registered job is not the job spec that is known here; it is left as it is", s.seen.Drift)
	}
	if s.unknown.text != "" {
		last(jobs.NoticeMetricUnknown, s.unknown.text+"; nothing goes down by what is unknown", nil)
	}
	if s.warned.text != "" {
		last(jobs.NoticeMetricWarned, s.warned.text+"; what it gives is used all the same", nil)
	}
	switch {
	case s.blind != nil:
		last(jobs.NoticeFleetSilent, fmt.Sprintf("the fleet does not answer: %v", s.blind), nil)
	case s.silent:
		last(jobs.NoticeFleetSilent, s.silentWhy(), nil)
	}
	for kind := range s.noticed {
		if !lasting[kind] {
			delete(s.noticed, kind)
		}
	}
	slices.SortStableFunc(list, func(a, b jobs.Notice) int { return b.Since.Compare(a.Since) })
	return list
}

func (s *service) outWhy() string {
	if s.unrevived != "" {
		return s.out.Why + "; the last try to bring it back failed: " + s.unrevived
	}
	return s.out.Why
}

func (s *service) silentWhy() string {
	why := s.seen.Silence
	if why != "" {
		why = ": " + why
	}
	return fmt.Sprintf("the fleet has not been heard since %s%s; what is shown is from then", s.seen.At.UTC().Format("15:04:05"), why)
}

// drainingNodes names the nodes that are being drained under replicas; "" if
// none is.
func (s *service) drainingNodes() string {
	var nodes []string
	n := 0
	for _, r := range s.inOrder() {
		if r.alloc.NodeDraining && r.phase != jobs.Gone {
			n++
			if !slices.Contains(nodes, r.alloc.Node) {
				nodes = append(nodes, r.alloc.Node)
			}
		}
	}
	switch {
	case n == 0:
		return ""
	case n == 1:
		return fmt.Sprintf("node %s is being drained: its replica takes no new requests and is placed elsewhere", nodes[0])
	}
	return fmt.Sprintf("nodes are being drained (%s): %d replicas take no new requests and are placed elsewhere", strings.Join(nodes, ", "), n)
}
