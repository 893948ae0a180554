package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/policies"
)

type policiesBody struct {
	Rows    []policyRow
	NewName string
	Problem string
	Specs   []string
	DataURL string
}

type policyRow struct {
	policies.Version
	Routes []string
}

func (s *Server) policiesPage(c echo.Context) error {
	status, body := http.StatusOK, policiesBody{Specs: s.cfg.Specs, DataURL: s.cfg.DataURL}
	if name := strings.TrimSpace(c.QueryParam("new")); name != "" {
		if serviceName.MatchString(name) {
			return c.Redirect(http.StatusSeeOther, "/policies/"+name)
		}
		status, body.NewName, body.Problem = http.StatusUnprocessableEntity, name, "a name is 1 to 63 of a–z, 0–9 and -"
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	list, err := s.listPolicies(ctx)
	if err != nil {
		return fromStore(fmt.Errorf("read the policies: %w", err))
	}
	for _, v := range list {
		row := policyRow{Version: v}
		if v.Policy != nil {
			r := v.Policy.Route
			row.Routes = append(append(append(row.Routes, r.PathPrefixes...), r.Models...), r.Hosts...)
		}
		body.Rows = append(body.Rows, row)
	}
	return s.renderPage(c, status, "policies", page{Title: "Policies", Nav: "/policies", Body: body})
}

// editorBody is a policy as text, with what is known of the draft.
type editorBody struct {
	Name    string
	Text    string
	Base    int               // version that the text began from; 0: it creates
	Current *policies.Version // in force now; nil: none
	Comment string
	By      string
	Saved   int               // version just saved
	Earlier *policies.Version // whose text it is that may be rolled back to; nil: none

	Checked  bool
	Verdict  Verdict
	Diff     []diffLine
	Changes  []policies.Change
	Conflict *conflictBody
	Specs    []string
	Choices  simulateChoices
	Problem  string // why the draft is not simulated
}

// Unreadable reports whether what is stored is not valid in this version of the
// program.
func (e editorBody) Unreadable() bool { return e.Current != nil && e.Current.Policy == nil }

// Lines are numbered beside the text.
func (e editorBody) Lines() []gutterLine {
	lines := make([]gutterLine, strings.Count(e.Text, "\n")+1)
	for i := range lines {
		lines[i].Number = i + 1
	}
	for _, p := range e.Verdict.Errors {
		if p.Line >= 1 && p.Line <= len(lines) {
			lines[p.Line-1].Wrong = true
		}
	}
	return lines
}

type gutterLine struct {
	Number int
	Wrong  bool
}

// conflictBody shows what the other person changed beside what this one did.
type conflictBody struct {
	Base           int
	Theirs         policies.Version
	Their, Yours   []diffLine // both against the base
	BaseKnown      bool
	TheirChanges   []policies.Change
	NothingOfYours bool
}

func (s *Server) policyPage(c echo.Context) error {
	name := c.Param("name")
	if !serviceName.MatchString(name) {
		return policies.ErrNotFound
	}
	body := editorBody{Name: name, By: rememberedName(c), Specs: s.cfg.Specs, Choices: s.choices("", false)}
	current, err := s.currentVersion(c.Request().Context(), name)
	switch {
	case errors.Is(err, policies.ErrNotFound):
		if body.Text, err = s.firstText(c.Request().Context(), name); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		body.Text, body.Base, body.Current = current.Text, current.Version, &current
		if n, err := strconv.Atoi(c.QueryParam("saved")); err == nil && n == current.Version {
			body.Saved = n
			if current.Policy != nil {
				body.Verdict.Warnings = s.warningsOf(c.Request().Context(), current.Policy, current.Text)
			}
		}
		body.Verdict.Errors = textProblems(current)
		body.Checked = body.Unreadable()
	}
	if version := c.QueryParam("version"); version != "" {
		if err := s.earlier(c.Request().Context(), &body, version); err != nil {
			return err
		}
	}
	return s.renderEditor(c, http.StatusOK, body)
}

// earlier puts the text of an earlier version into the editor, judged and compared
// like any other draft: what is rolled back to may not be valid any more, and
// somebody else may save meanwhile.
func (s *Server) earlier(ctx context.Context, body *editorBody, version string) error {
	list, err := s.versions(ctx, body.Name)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(version)
	v := versionIn(list, n)
	if err != nil || v == nil || v.Deleted {
		return newProblem(http.StatusNotFound, "unknown-version",
			quoteName(version)+" is not a kept version of "+body.Name+" with a text; its history lists those that are")
	}
	body.Earlier, body.Text, body.Comment = v, v.Text, rollbackComment(n)
	return s.check(ctx, body, "check")
}

// firstText is what a new policy begins with: a job that no other policy runs.
func (s *Server) firstText(ctx context.Context, name string) (string, error) {
	others, err := s.policiesInForce(ctx)
	if err != nil {
		return "", err
	}
	job := name
	free := func(spec string) bool {
		return !slices.ContainsFunc(others, func(p *policies.Policy) bool { return p.Job == spec })
	}
	if i := slices.IndexFunc(s.cfg.Specs, free); i >= 0 {
		job = s.cfg.Specs[i]
	}
	return `policy "` + name + `" {
  job = "` + job + `"

  route {
    path_prefixes = ["/` + name + `"]
  }
  replicas {
    min         = 0
    max         = 1
    concurrency = 8
  }
  to_zero {
    after = "10m"
  }
}
`, nil
}

func (s *Server) renderEditor(c echo.Context, status int, body editorBody) error {
	return s.renderPage(c, status, "policy", page{Title: "Policy " + body.Name, Nav: "/policies", Body: body,
		Stream: eventsPath + "?topics=" + topicPolicy + "&service=" + url.QueryEscape(body.Name)})
}

// policyForm checks or saves the text of the form. Whatever the outcome, the
// text is in the answer.
func (s *Server) policyForm(c echo.Context) error {
	if err := c.Request().ParseForm(); err != nil {
		return bodyError(err)
	}
	form, name := c.Request().PostForm, c.Param("name")
	body := editorBody{Name: name, Comment: form.Get("comment"), By: form.Get("by"), Specs: s.cfg.Specs,
		Choices: s.choices(form.Get("over"), form.Get("sweep") != ""),
		Text:    strings.ReplaceAll(form.Get("text"), "\r\n", "\n")} // forms send CRLF, policies are stored with LF
	if len(body.Text) > int(policyBody) {
		return newProblem(http.StatusRequestEntityTooLarge, "body-too-large", "the policy is larger than 1 MiB")
	}
	base, err := strconv.Atoi(form.Get("base"))
	if err != nil || base < 0 {
		return badRequest("base is missing: which version did the text begin from?")
	}
	body.Base = base
	do := form.Get("do")
	if err := s.check(c.Request().Context(), &body, do); err != nil {
		return err
	}
	switch {
	case do != "save" && do != "simulate" && do != "shadow":
		return s.renderEditor(c, http.StatusOK, body)
	case !body.Verdict.Valid:
		return s.renderEditor(c, http.StatusUnprocessableEntity, body)
	case do == "simulate":
		return s.simulateForm(c, body, form)
	case do == "shadow" && s.cfg.Shadows != nil:
		return s.shadowForm(c, body)
	}
	v, err := s.save(c, name, body.Text, base, body.Comment, body.By)
	var invalid policies.ValidationErrors
	switch {
	case err == nil:
		rememberName(c, body.By)
		return c.Redirect(http.StatusSeeOther, "/policies/"+name+"?saved="+strconv.Itoa(v.Version))
	case errors.As(err, &invalid): // another policy has taken a route meanwhile
		body.Verdict = Verdict{Errors: fieldProblems(invalid)}
		return s.renderEditor(c, http.StatusUnprocessableEntity, body)
	case lostRace(err):
		return s.conflict(c, body)
	}
	return err
}

func lostRace(err error) bool {
	var conflict *policies.ConflictError
	return errors.As(err, &conflict) || errors.Is(err, policies.ErrExists) || errors.Is(err, policies.ErrNotFound)
}

// check fills in what is known of the draft in body. What is to be saved is not
// asked about: the page that shows it saved says what to think of.
func (s *Server) check(ctx context.Context, body *editorBody, do string) error {
	current, err := s.currentVersion(ctx, body.Name)
	switch {
	case errors.Is(err, policies.ErrNotFound):
	case err != nil:
		return err
	default:
		body.Current = &current
	}
	draft, verdict, err := s.judge(ctx, body.Name, body.Text)
	if err != nil {
		return err
	}
	body.Checked, body.Verdict = true, verdict
	body.Diff = diffText(current.Text, body.Text)
	if draft == nil {
		return nil
	}
	body.Changes = policies.Diff(current.Policy, draft)
	if do != "save" || !verdict.Valid {
		body.Verdict.Warnings = s.warningsOf(ctx, draft, body.Text)
	}
	return nil
}

// conflict answers a lost race: both changes side by side, the text kept, and
// the next save based on what is in force now.
func (s *Server) conflict(c echo.Context, body editorBody) error {
	list, err := s.versions(c.Request().Context(), body.Name)
	if err != nil {
		return err
	}
	conflict := &conflictBody{Base: body.Base}
	if len(list) > 0 {
		conflict.Theirs = list[0]
	}
	base := versionIn(list, body.Base)
	if base == nil {
		base = &policies.Version{}
	}
	conflict.BaseKnown = base.Version > 0
	conflict.Their = diffText(base.Text, conflict.Theirs.Text)
	conflict.Yours = diffText(base.Text, body.Text)
	conflict.NothingOfYours = len(conflict.Yours) == 0
	if conflict.Theirs.Policy != nil {
		conflict.TheirChanges = policies.Diff(base.Policy, conflict.Theirs.Policy)
	}
	body.Conflict = conflict
	body.Base = conflict.Theirs.Version
	body.Current = &conflict.Theirs
	if conflict.Theirs.Deleted {
		body.Base, body.Current = 0, nil
	}
	return s.renderEditor(c, http.StatusConflict, body)
}
