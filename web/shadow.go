package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// Shadows are drafts that run beside the policies in force, without acting;
// scaler/history implements it.
type Shadows interface {
	// SetShadow lets a draft run in place of any other of the service; the active
	// scaler begins at once.
	SetShadow(ctx context.Context, service string, s jobs.Shadow) error
	// RemoveShadow ends one; false if there is none.
	RemoveShadow(ctx context.Context, service string) (bool, error)
	// Shadow is nil if there is none; its standing is nil until it has decided.
	Shadow(ctx context.Context, service string) (*jobs.Shadow, *jobs.ShadowStanding, error)
	// ShadowSteps are when a shadow or its policy wanted another count, oldest
	// first; the newest of them at most.
	ShadowSteps(ctx context.Context, service string, limit int) ([]jobs.ShadowStep, error)
	// ShadowDecisions are newest first.
	ShadowDecisions(ctx context.Context, service string, limit int) ([]decide.Decision, error)
}

// ShadowInfo is a draft that runs beside a policy, and how the two compare.
type ShadowInfo struct {
	Service  string               `json:"service"`
	Shadow   jobs.Shadow          `json:"shadow"`
	Standing *jobs.ShadowStanding `json:"standing"` // null: it has not decided yet
	Steps    []jobs.ShadowStep    `json:"steps"`
}

const mostShadowSteps = 2000

var errNoShadow = newProblem(http.StatusNotFound, "unknown-shadow", "no draft runs beside this policy")

func (s *Server) shadowRoutes() []route {
	if s.cfg.Shadows == nil {
		return nil
	}
	path := apiBase + "/policies/:name/shadow"
	ok := okJSON(ShadowInfo{}, "the draft, and how it compares. Both decide on the live service's signals; the draft with the replicas that it would have. "+
		"While live requests wait for a start that the draft would not have needed they count for it, too: what a draft costs over days is what a simulation tells")
	return []route{
		{method: "GET", path: path, handler: s.getShadow, api: &operation{
			summary: "The draft that runs beside a policy without acting", params: []parameter{nameParam},
			answers: answers(ok, no404, no503)}},
		{method: "PUT", path: path, handler: s.putShadow, limit: policyBody, api: &operation{
			summary: "Let a draft run beside a policy without acting, in place of any other; one for each policy",
			params:  []parameter{nameParam, commentParam, fromHeader}, body: policyContents,
			answers: answers(ok, no400, no404, no413, no415, no422, no503)}},
		{method: "DELETE", path: path, handler: s.deleteShadow, api: &operation{
			summary: "End the draft beside a policy, and forget what it decided", params: []parameter{nameParam, fromHeader},
			answers: answers(answer{status: 204, about: "ended"}, no404, no503)}},
	}
}

func (s *Server) getShadow(c echo.Context) error {
	info, err := s.readShadow(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	if info == nil {
		return errNoShadow
	}
	return c.JSON(http.StatusOK, info)
}

// readShadow returns nil if there is none.
func (s *Server) readShadow(ctx context.Context, name string) (*ShadowInfo, error) {
	if s.cfg.Shadows == nil || !serviceName.MatchString(name) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	draft, standing, err := s.cfg.Shadows.Shadow(ctx, name)
	if err != nil {
		return nil, fromStore(fmt.Errorf("read the shadow of %s: %w", name, err))
	}
	if draft == nil {
		return nil, nil
	}
	steps, err := s.cfg.Shadows.ShadowSteps(ctx, name, mostShadowSteps)
	if err != nil {
		return nil, fromStore(fmt.Errorf("read the shadow of %s: %w", name, err))
	}
	return &ShadowInfo{Service: name, Shadow: *draft, Standing: standing, Steps: orEmpty(steps)}, nil
}

// shadowDecisions are those of a service's shadow, newest first; none if there is
// no shadow.
func (s *Server) shadowDecisions(ctx context.Context, name string, limit int) ([]decide.Decision, error) {
	if s.cfg.Shadows == nil || !serviceName.MatchString(name) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	list, err := s.cfg.Shadows.ShadowDecisions(ctx, name, limit)
	if err != nil {
		return nil, fromStore(fmt.Errorf("read what the shadow of %s decided: %w", name, err))
	}
	return list, nil
}

func (s *Server) putShadow(c echo.Context) error {
	text, err := draftText(c)
	if err != nil {
		return err
	}
	draft, err := s.setShadow(c, c.Param("name"), text, c.QueryParam("comment"), c.Request().Header.Get("From"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, ShadowInfo{Service: c.Param("name"), Shadow: draft, Steps: []jobs.ShadowStep{}})
}

// setShadow is the one way to set a shadow, for API and forms.
func (s *Server) setShadow(c echo.Context, name, text, comment, by string) (jobs.Shadow, error) {
	ctx := c.Request().Context()
	current, err := s.currentVersion(ctx, name)
	if err == nil && current.Version == 0 {
		err = policies.ErrNotFound
	}
	if err != nil {
		return jobs.Shadow{}, err
	}
	_, verdict, err := s.judge(ctx, name, text)
	if err != nil {
		return jobs.Shadow{}, err
	}
	if !verdict.Valid {
		p := newProblem(http.StatusUnprocessableEntity, "invalid-policy", "the policy is wrong; no shadow was set")
		p.Errors = verdict.Errors
		return jobs.Shadow{}, p
	}
	draft := jobs.Shadow{ID: strings.ToLower(rand.Text()[:16]), Text: text, Author: author(c, by), Comment: cutText(comment, 500), At: time.Now().UTC()}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.cfg.Shadows.SetShadow(ctx, name, draft); err != nil {
		return jobs.Shadow{}, fromStore(err)
	}
	s.cfg.Logger.Info("shadow set", "service", name, "by", draft.Author, "reason", draft.Comment)
	return draft, nil
}

func (s *Server) deleteShadow(c echo.Context) error {
	if err := s.removeShadow(c, c.Param("name"), c.Request().Header.Get("From")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) removeShadow(c echo.Context, name, by string) error {
	if !serviceName.MatchString(name) {
		return errNoShadow
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	there, err := s.cfg.Shadows.RemoveShadow(ctx, name)
	switch {
	case err != nil:
		return fromStore(err)
	case !there:
		return errNoShadow
	}
	s.cfg.Logger.Info("shadow removed", "service", name, "by", author(c, by))
	return nil
}

// shadowForm sets the text of the editor as a shadow, and leads to where it is
// shown; shadowEndForm ends it.
func (s *Server) shadowForm(c echo.Context, body editorBody) error {
	if _, err := s.setShadow(c, body.Name, body.Text, body.Comment, body.By); err != nil {
		var p *Problem
		if errors.As(err, &p) && p.Status < http.StatusInternalServerError || errors.Is(err, policies.ErrNotFound) {
			body.Problem = "No shadow was set: there is no policy of this name in force that a draft could run beside."
			return s.renderEditor(c, http.StatusUnprocessableEntity, body)
		}
		return err
	}
	rememberName(c, body.By)
	return c.Redirect(http.StatusSeeOther, "/services/"+body.Name+"#shadow")
}

func (s *Server) shadowEndForm(c echo.Context) error {
	if s.cfg.Shadows == nil {
		return echo.ErrNotFound
	}
	if err := s.removeShadow(c, c.Param("name"), rememberedName(c)); err != nil && !errors.Is(err, errNoShadow) {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/services/"+c.Param("name"))
}
