package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/jobs"
)

// ServiceInfo is a jobs.Status as the API answers it: a time that is not known
// is null.
type ServiceInfo struct {
	jobs.Status
	At    *time.Time `json:"at"`    // when this was true; null: the scaler has not reported yet
	Stale bool       `json:"stale"` // true: the scaler should have reported since, and has not
}

func infoOfService(svc service) ServiceInfo {
	info := ServiceInfo{Status: svc.Status, Stale: svc.Stale}
	if svc.Known {
		at := svc.Status.At.UTC()
		info.At = &at
	}
	return info
}

// CommandRequest is the body of wake, sleep, pause, resume and unpin.
type CommandRequest struct {
	Reason string `json:"reason"` // required
}

// PinRequest is the body of pin.
type PinRequest struct {
	Replicas *int   `json:"replicas"`
	Reason   string `json:"reason"` // required
}

func commandBody(verb string) any {
	if verb == jobs.VerbPin {
		return PinRequest{}
	}
	return CommandRequest{}
}

func (s *Server) getServices(c echo.Context) error {
	fleet, err := s.readFleet(c.Request().Context())
	if err != nil {
		return err
	}
	out := make([]ServiceInfo, 0, len(fleet))
	for _, svc := range fleet {
		out = append(out, infoOfService(svc))
	}
	return c.JSON(http.StatusOK, out)
}

func (s *Server) getService(c echo.Context) error {
	svc, err := s.readService(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, infoOfService(svc))
}

func (s *Server) postCommand(verb string) echo.HandlerFunc {
	return func(c echo.Context) error {
		var body PinRequest
		var err error
		if verb == jobs.VerbPin {
			err = readJSON(c, &body)
		} else {
			var plain CommandRequest
			err = readJSON(c, &plain)
			body.Reason = plain.Reason
		}
		if err != nil {
			return err
		}
		cmd, err := s.operate(c, c.Param("name"), verb, body, c.Request().Header.Get("From"))
		if err != nil {
			return err
		}
		return c.JSON(http.StatusAccepted, cmd)
	}
}

// operate checks a command, hands it to the scaler and logs it: the one way for
// API and forms.
func (s *Server) operate(c echo.Context, name, verb string, body PinRequest, by string) (jobs.Command, error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), storeTimeout)
	defer cancel()
	svc, err := s.readService(ctx, name)
	if err != nil {
		return jobs.Command{}, err
	}
	if wrong := wrongCommand(verb, body, svc.maxReplicas()); len(wrong) > 0 {
		p := newProblem(http.StatusUnprocessableEntity, "invalid-command", "the command is not complete; nothing was changed")
		p.Service, p.Errors = name, wrong
		return jobs.Command{}, p
	}
	cmd := jobs.Command{Verb: verb, Reason: cutText(strings.TrimSpace(body.Reason), 500), By: author(c, by)}
	if verb == jobs.VerbPin {
		cmd.Replicas = *body.Replicas
	}
	cmd, err = s.cfg.Services.Operate(ctx, name, cmd)
	if err != nil {
		return jobs.Command{}, fromStore(fmt.Errorf("%s %s: %w", verb, name, err))
	}
	s.cfg.Logger.Info("operator command", "service", name, "verb", verb, "replicas", cmd.Replicas, "by", cmd.By, "reason", cmd.Reason)
	return cmd, nil
}

// wrongCommand says all that is wrong with a command. A reason is asked of every
// one: it stands in the decisions when somebody wonders, at night, why.
func wrongCommand(verb string, body PinRequest, maxReplicas int) (wrong []FieldProblem) {
	if strings.TrimSpace(body.Reason) == "" {
		wrong = append(wrong, FieldProblem{Field: "reason", Message: "is required", Allowed: "a few words that tell others why; they are recorded with the decision"})
	}
	if verb == jobs.VerbPin && (body.Replicas == nil || *body.Replicas < 0 || *body.Replicas > maxReplicas) {
		wrong = append(wrong, FieldProblem{Field: "replicas", Message: "not a count that the policy allows", Allowed: fmt.Sprintf("0 to %d (replicas.max of the policy)", maxReplicas)})
	}
	return wrong
}

func (s *Server) getColdStarts(c echo.Context) error {
	limit, err := limitOf(c, 100, 1000)
	if err != nil {
		return err
	}
	list, err := s.coldStarts(c.Request().Context(), c.QueryParam("service"), limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, orEmpty(list))
}

func (s *Server) getDecisions(c echo.Context) error {
	limit, err := limitOf(c, 100, 1000)
	if err != nil {
		return err
	}
	name, read := c.QueryParam("service"), s.decisions
	switch text := c.QueryParam("shadow"); {
	case text != "" && text != "true" && text != "false":
		return badRequest(fmt.Sprintf("shadow is %s; allowed: true, false", quoteName(text)))
	case text == "true" && name == "":
		return badRequest("service is missing: whose shadow?")
	case text == "true":
		read = s.shadowDecisions
	}
	list, err := read(c.Request().Context(), name, limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, orEmpty(list))
}

func (s *Server) getTimeline(c echo.Context) error {
	name := c.QueryParam("service")
	if name == "" {
		return badRequest("service is missing: which timeline?")
	}
	limit, err := limitOf(c, 900, 7200)
	if err != nil {
		return err
	}
	list, err := s.timeline(c.Request().Context(), name, limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, orEmpty(list))
}

func (s *Server) coldStarts(ctx context.Context, name string, limit int) ([]jobs.ColdStart, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	list, err := s.cfg.Services.ColdStarts(ctx, name, limit)
	if err != nil {
		return nil, fromStore(fmt.Errorf("read cold starts: %w", err))
	}
	return list, nil
}

func (s *Server) timeline(ctx context.Context, name string, limit int) ([]jobs.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	list, err := s.cfg.Services.Timeline(ctx, name, limit)
	if err != nil {
		return nil, fromStore(fmt.Errorf("read the timeline of %s: %w", name, err))
	}
	return list, nil
}

func limitOf(c echo.Context, normal, most int) (int, error) {
	text := c.QueryParam("limit")
	if text == "" {
		return normal, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, badRequest(fmt.Sprintf("limit is %s; allowed: 1 to %d", quoteName(text), most))
	}
	return n, nil
}

// orEmpty makes JSON write [] for no elements.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func cutText(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}
