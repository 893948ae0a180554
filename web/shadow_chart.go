package web

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/simulate"
)

// shadowBody is the part of a service's page about its shadow.
type shadowBody struct {
	ShadowInfo
	Sentence  string
	Chart     *shadowChart // nil: nothing to draw yet
	Decisions []decisionRow
	Rows      []jobs.ShadowStep // newest first
	Base      int
}

// shadowChart is what both wanted over time, as an SVG.
type shadowChart struct {
	Width, Height, Left, Right, Top, Bottom float64
	Shadow, Live                            string // points of polylines
	Levels                                  []chartLevel
	From, To, Describe                      string
}

type chartLevel struct {
	Label string
	Y     float64
}

// shadowPart reads it; nil if the service has no shadow.
func (s *Server) shadowPart(ctx context.Context, svc service, now time.Time) (*shadowBody, error) {
	info, err := s.readShadow(ctx, svc.Name)
	if info == nil {
		return nil, err
	}
	b := &shadowBody{ShadowInfo: *info, Sentence: compare(info), Chart: drawShadow(info.Steps, now),
		Rows: lastSteps(info.Steps), Base: svc.Status.PolicyVersion}
	news, err := s.shadowDecisions(ctx, svc.Name, 6)
	for _, d := range news {
		b.Decisions = append(b.Decisions, rowOfDecision(d))
	}
	return b, err
}

// lastSteps are the newest ones first, as many as a table is read.
func lastSteps(steps []jobs.ShadowStep) []jobs.ShadowStep {
	const most = 60
	var rows []jobs.ShadowStep
	for i := len(steps) - 1; i >= 0 && len(rows) < most; i-- {
		rows = append(rows, steps[i])
	}
	return rows
}

// compare says in a sentence how the two stand.
func compare(info *ShadowInfo) string {
	st := info.Standing
	switch {
	case st == nil:
		return "It has not decided yet: the scaler begins with it at its next look."
	case st.Failure != "":
		return "It does not decide: " + st.Failure + "."
	}
	over := simulate.Span(time.Duration(st.ObservedS) * time.Second)
	text := fmt.Sprintf("It wants %s; the policy in force wants %d. Over %s it would have used ", plural(st.Wanted, "replica"), st.LiveWanted, over)
	if than := moreOrLess(st.GPUSeconds, st.LiveGPUSeconds); than != "" {
		text += fmt.Sprintf("%s GPU-hours, %s than the %s that were used", short(st.GPUSeconds/3600), than, short(st.LiveGPUSeconds/3600))
	} else {
		text += fmt.Sprintf("as much as was used, %s GPU-hours", short(st.GPUSeconds/3600))
	}
	if st.ObservedS > 0 {
		text += fmt.Sprintf("; the two wanted different counts for %s %% of that time", percentOf(st.DiffersS/st.ObservedS))
	}
	return text + "."
}

// drawShadow draws the steps up to now; nil if there are none.
func drawShadow(steps []jobs.ShadowStep, now time.Time) *shadowChart {
	if len(steps) == 0 {
		return nil
	}
	c := &shadowChart{Width: 1000, Height: 180, Left: 36, Right: 990, Top: 34, Bottom: 150}
	first := steps[0].At
	long := max(now.Sub(first), time.Second)
	most := 1
	for _, s := range steps {
		most = max(most, s.Wanted, s.Live)
	}
	x := func(at time.Time) float64 {
		return c.Left + (c.Right-c.Left)*min(1, max(0, at.Sub(first).Seconds()/long.Seconds()))
	}
	y := func(n int) float64 { return c.Bottom - (c.Bottom-c.Top)*float64(n)/float64(most) }
	for n, by := 0, (most+4)/5; n <= most; n += by {
		c.Levels = append(c.Levels, chartLevel{fmt.Sprint(n), y(n)})
	}
	var shadow, live strings.Builder
	for i, s := range steps {
		until := now
		if i+1 < len(steps) {
			until = steps[i+1].At
		}
		// A little apart, so that one does not hide the other where they agree.
		fmt.Fprintf(&shadow, "%.1f,%.1f %.1f,%.1f ", x(s.At), y(s.Wanted)-1.5, x(until), y(s.Wanted)-1.5)
		fmt.Fprintf(&live, "%.1f,%.1f %.1f,%.1f ", x(s.At), y(s.Live)+1.5, x(until), y(s.Live)+1.5)
	}
	c.Shadow, c.Live = strings.TrimSpace(shadow.String()), strings.TrimSpace(live.String())
	c.From, c.To = first.UTC().Format("2006-01-02 15:04"), now.UTC().Format("2006-01-02 15:04 MST")
	c.Describe = fmt.Sprintf("Replicas wanted by the shadow and by the policy in force, at most %d, from %s to %s.", most, c.From, c.To)
	return c
}
