package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/policies"
)

// PolicyInfo is one line of the list of policies.
type PolicyInfo struct {
	VersionInfo
	Policy *policies.Policy `json:"policy"`           // null: not valid in this version of the program
	Errors []FieldProblem   `json:"errors,omitempty"` // then: why
}

// VersionInfo is a version without its text.
type VersionInfo struct {
	Name    string    `json:"name"`
	Version int       `json:"version"` // also the ETag
	Author  string    `json:"author"`
	Comment string    `json:"comment"`
	At      time.Time `json:"at"`
	Deleted bool      `json:"deleted"`
}

func infoOf(v policies.Version) VersionInfo {
	return VersionInfo{Name: v.Name, Version: v.Version, Author: v.Author, Comment: v.Comment, At: v.At.UTC(), Deleted: v.Deleted}
}

// RollbackRequest names the version whose text is saved again as the newest.
type RollbackRequest struct {
	Version int    `json:"version"`
	Comment string `json:"comment"`
}

func (s *Server) getPolicies(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	list, err := s.listPolicies(ctx)
	if err != nil {
		return fromStore(fmt.Errorf("read the policies: %w", err))
	}
	if wantsHCL(c.Request()) {
		texts := make([]string, 0, len(list))
		for _, v := range list {
			texts = append(texts, strings.TrimRight(v.Text, "\n")+"\n")
		}
		return c.Blob(http.StatusOK, mediaHCL+"; charset=utf-8", []byte(strings.Join(texts, "\n")))
	}
	out := make([]PolicyInfo, 0, len(list))
	for _, v := range list {
		out = append(out, PolicyInfo{VersionInfo: infoOf(v), Policy: v.Policy, Errors: textProblems(v)})
	}
	return c.JSON(http.StatusOK, out)
}

func (s *Server) getPolicy(c echo.Context) error {
	v, err := s.currentVersion(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	if unchanged(c.Request(), v.Version) {
		c.Response().Header().Set("ETag", etag(v.Version))
		return c.NoContent(http.StatusNotModified)
	}
	return sendPolicy(c, http.StatusOK, v)
}

// unchanged reports whether the caller has that version already.
func unchanged(r *http.Request, version int) bool {
	list := strings.Join(r.Header.Values("If-None-Match"), ",")
	tags, _ := parseTags(list)
	return list == "*" || slices.ContainsFunc(tags, func(tag entityTag) bool { return tag.matches(version, false) })
}

// sendPolicy answers v in the format that was asked for.
func sendPolicy(c echo.Context, status int, v policies.Version) error {
	h := c.Response().Header()
	h.Set("ETag", etag(v.Version))
	h.Set("Last-Modified", v.At.UTC().Format(http.TimeFormat))
	h.Add("Vary", "Accept")
	if wantsHCL(c.Request()) {
		return c.Blob(status, mediaHCL+"; charset=utf-8", []byte(v.Text))
	}
	if v.Policy == nil {
		return unreadablePolicy(v)
	}
	return c.JSON(status, v.Policy)
}

func (s *Server) putPolicy(c echo.Context) error {
	name := c.Param("name")
	base, err := s.baseOf(c, name)
	if err != nil {
		return err
	}
	text, err := draftText(c)
	if err != nil {
		return err
	}
	v, err := s.save(c, name, text, base, c.QueryParam("comment"), c.Request().Header.Get("From"))
	if err != nil {
		return err
	}
	s.warn(c, v)
	if base == 0 {
		c.Response().Header().Set("Location", apiBase+"/policies/"+name)
		return sendPolicy(c, http.StatusCreated, v)
	}
	return sendPolicy(c, http.StatusOK, v)
}

// warn puts what is to be thought of in a version that was saved into the head of
// the answer, whose body is the policy: a Warning of code 299 each, as the API of
// Kubernetes does.
func (s *Server) warn(c echo.Context, v policies.Version) {
	if v.Policy == nil {
		return
	}
	for _, w := range s.warningsOf(c.Request().Context(), v.Policy, v.Text) {
		text := policies.FieldError{Line: w.Line, Field: w.Field, Message: w.Message, Allowed: w.Allowed}.Error()
		text = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, text)
		c.Response().Header().Add("Warning", `299 pilotlight "`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)+`"`)
	}
}

func (s *Server) deletePolicy(c echo.Context) error {
	name := c.Param("name")
	if c.Request().Header.Get("If-None-Match") != "" {
		return badRequest("If-None-Match creates; a deletion takes If-Match")
	}
	if _, err := s.currentVersion(c.Request().Context(), name); err != nil {
		return err
	}
	base, err := s.baseOf(c, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	who := author(c, c.Request().Header.Get("From"))
	v, err := s.cfg.Policies.Delete(ctx, name, base, who, cutText(c.QueryParam("comment"), 500))
	if err != nil {
		return fromStore(fmt.Errorf("delete policy %s: %w", name, err))
	}
	s.cfg.Logger.Info("policy deleted", "service", name, "version", v.Version, "by", who, "reason", v.Comment)
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) validatePolicy(c echo.Context) error {
	name := c.Param("name")
	text, err := draftText(c)
	if problems := (policies.ValidationErrors{}); errors.As(err, &problems) { // JSON that is no policy
		return c.JSON(http.StatusOK, Verdict{Errors: fieldProblems(problems), Warnings: []FieldProblem{}})
	}
	if err != nil {
		return err
	}
	draft, verdict, err := s.judge(c.Request().Context(), name, text)
	if err != nil {
		return err
	}
	if draft != nil {
		verdict.Warnings = s.warningsOf(c.Request().Context(), draft, text)
	}
	return c.JSON(http.StatusOK, verdict)
}

func (s *Server) diffPolicy(c echo.Context) error {
	name := c.Param("name")
	text, err := draftText(c)
	if err != nil {
		return err
	}
	draft, err := parseDraft(name, text)
	if err != nil {
		return err
	}
	current, err := s.currentVersion(c.Request().Context(), name)
	if err != nil && !errors.Is(err, policies.ErrNotFound) {
		return err
	}
	return c.JSON(http.StatusOK, Difference{Base: current.Version, Changes: orEmpty(policies.Diff(current.Policy, draft))})
}

func (s *Server) getVersions(c echo.Context) error {
	list, err := s.versions(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return policies.ErrNotFound
	}
	return c.JSON(http.StatusOK, list)
}

func (s *Server) rollbackPolicy(c echo.Context) error {
	name := c.Param("name")
	var body RollbackRequest
	if err := readJSON(c, &body); err != nil {
		return err
	}
	base := -1
	if h := c.Request().Header; h.Get("If-Match") != "" || h.Get("If-None-Match") != "" {
		var err error
		if base, err = s.baseOf(c, name); err != nil {
			return err
		}
	}
	v, err := s.rollback(c, name, body.Version, base, body.Comment, c.Request().Header.Get("From"))
	if err != nil {
		return err
	}
	s.warn(c, v)
	return sendPolicy(c, http.StatusOK, v)
}

// rollback saves the text of version as the newest; base -1 is whatever is in
// force now. A deleted policy is created again.
func (s *Server) rollback(c echo.Context, name string, version, base int, comment, by string) (policies.Version, error) {
	list, err := s.versions(c.Request().Context(), name)
	if err != nil {
		return policies.Version{}, err
	}
	if len(list) == 0 {
		return policies.Version{}, policies.ErrNotFound
	}
	i := slices.IndexFunc(list, func(v policies.Version) bool { return v.Version == version && !v.Deleted })
	if i < 0 {
		p := newProblem(http.StatusUnprocessableEntity, "invalid-version", "there is no such version to roll back to; nothing was written")
		p.Errors = []FieldProblem{{Field: "version", Message: fmt.Sprintf("%d is not a kept version with a text", version), Allowed: fmt.Sprintf("1 to %d", list[0].Version)}}
		return policies.Version{}, p
	}
	if base < 0 {
		base = list[0].Version
		if list[0].Deleted {
			base = 0
		}
	}
	if comment == "" {
		comment = rollbackComment(version)
	}
	return s.save(c, name, list[i].Text, base, comment, by)
}

func rollbackComment(version int) string { return fmt.Sprintf("roll back to version %d", version) }

// save is the one way to change a policy, for API and forms.
func (s *Server) save(c echo.Context, name, text string, base int, comment, by string) (policies.Version, error) {
	if !serviceName.MatchString(name) {
		return policies.Version{}, wrongName()
	}
	if _, err := parseDraft(name, text); err != nil {
		return policies.Version{}, err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	who := author(c, by)
	v, err := s.cfg.Policies.Put(ctx, name, text, base, who, cutText(comment, 500))
	if err != nil {
		return policies.Version{}, fromStore(fmt.Errorf("save policy %s: %w", name, err))
	}
	s.cfg.Logger.Info("policy saved", "service", name, "version", v.Version, "by", who, "reason", v.Comment)
	return v, nil
}

// currentVersion of a policy, without Policy if it is not valid in this version
// of the program.
func (s *Server) currentVersion(ctx context.Context, name string) (policies.Version, error) {
	if !serviceName.MatchString(name) {
		return policies.Version{}, policies.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	v, err := s.cfg.Policies.Get(ctx, name)
	var unreadable *policies.UnreadableError
	if err != nil && !errors.As(err, &unreadable) {
		return policies.Version{}, fromStore(fmt.Errorf("read policy %s: %w", name, err))
	}
	return v, nil
}

// versions of a policy, newest first; none if there never was one.
func (s *Server) versions(ctx context.Context, name string) ([]policies.Version, error) {
	if !serviceName.MatchString(name) {
		return nil, policies.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	list, err := s.cfg.Policies.Versions(ctx, name)
	if errors.Is(err, policies.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fromStore(fmt.Errorf("read the versions of %s: %w", name, err))
	}
	return list, nil
}

// baseOf is the version that a change says it is based on: 0 creates. If-Match: *
// is any version that is in force when it is asked, and a list is the one of it
// that is (RFC 9110 §13.1.1). Whatever it is, the store compares it again as it
// writes.
func (s *Server) baseOf(c echo.Context, name string) (int, error) {
	h := c.Request().Header
	match, noneMatch := strings.Join(h.Values("If-Match"), ","), h.Get("If-None-Match")
	switch {
	case match != "" && noneMatch != "":
		return 0, badRequest("If-Match and If-None-Match exclude each other")
	case noneMatch == "*":
		return 0, nil
	case noneMatch != "":
		return 0, badRequest("If-None-Match is " + quoteName(noneMatch) + "; allowed: *")
	case match == "":
		return 0, newProblem(http.StatusPreconditionRequired, "precondition-required",
			`say which version the change is based on: If-Match: "VERSION" (the ETag that was read), or If-None-Match: * to create`)
	}
	tags, isList := parseTags(match)
	if match != "*" && !isList {
		return 0, badRequest("If-Match is " + quoteName(match) + `; allowed: the ETag that was read ("3"), a list of such, or *`)
	}
	if !serviceName.MatchString(name) {
		return 0, wrongName()
	}
	v, err := s.currentVersion(c.Request().Context(), name)
	if errors.Is(err, policies.ErrNotFound) {
		return 0, newProblem(http.StatusPreconditionFailed, "policy-changed", "there is no policy of that name (any more); nothing was written")
	}
	if err != nil {
		return 0, err
	}
	if match == "*" || slices.ContainsFunc(tags, func(tag entityTag) bool { return tag.matches(v.Version, true) }) {
		return v.Version, nil
	}
	if !slices.ContainsFunc(tags, func(tag entityTag) bool { return !tag.weak }) {
		info := infoOf(v)
		p := newProblem(http.StatusPreconditionFailed, "policy-changed", `a weak tag (W/"…") never matches: send the ETag as it was read; nothing was written`)
		p.Service, p.Current = name, &info
		return 0, p
	}
	return 0, &policies.ConflictError{Name: name, Current: v}
}

func wrongName() *Problem { return badRequest("a policy's name is 1 to 63 of a–z, 0–9 and -") }

func etag(version int) string { return `"` + strconv.Itoa(version) + `"` }

// draftText reads a policy from the body, in either format, as the text to store.
func draftText(c echo.Context) (string, error) {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return "", bodyError(err)
	}
	switch media := mediaOf(c.Request()); media {
	case mediaHCL, "application/hcl", "text/plain":
		return string(body), nil
	case mediaJSON:
		return textOfJSON(body)
	default:
		return "", unsupportedMedia(media, mediaJSON+", "+mediaHCL)
	}
}

// usualColdStart of a service, for warnings; 0 is unknown.
func (s *Server) usualColdStart(ctx context.Context, name string) time.Duration {
	svc, err := s.readService(ctx, name)
	if err != nil || svc.Cold.P50 == nil {
		return 0
	}
	return time.Duration(*svc.Cold.P50 * float64(time.Second))
}
