package web

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/policies"
)

// Verdict is what is wrong with a draft, all at once.
type Verdict struct {
	Valid    bool           `json:"valid"`
	Errors   []FieldProblem `json:"errors"`
	Warnings []FieldProblem `json:"warnings"`
}

// Difference is what a draft would change in the policy in force.
type Difference struct {
	Base    int               `json:"base"` // version compared with; 0: there is none yet
	Changes []policies.Change `json:"changes"`
}

// parseDraft reads text as the policy called name: exactly one block, of that name.
func parseDraft(name, text string) (*policies.Policy, error) {
	list, err := policies.Parse("", []byte(text))
	if err != nil {
		return nil, err
	}
	wrong := policies.FieldError{Policy: name, Field: "policy", Line: 1}
	switch {
	case len(list) != 1:
		wrong.Message = fmt.Sprintf("there are %d policy blocks", len(list))
	case list[0].Name != name:
		wrong.Message = "the block is called " + strconv.Quote(list[0].Name)
		wrong.Line = lineOf(text, "policy")
	default:
		return list[0], nil
	}
	wrong.Allowed = "exactly one block, policy " + strconv.Quote(name)
	return nil, policies.ValidationErrors{wrong}
}

// lineOf is the first line of text that begins with word, from 1.
func lineOf(text, word string) int {
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), word) {
			return i + 1
		}
	}
	return 1
}

// textOfJSON turns a policy document in JSON into the text that is stored.
func textOfJSON(body []byte) (string, error) {
	p, err := policies.ParseJSON("", body)
	if err != nil {
		return "", err
	}
	return string(policies.Format(p)), nil
}

// judge says what is wrong with text as the policy called name, alone and
// together with the other policies in force. The policy is nil if it is wrong
// alone.
func (s *Server) judge(ctx context.Context, name, text string) (*policies.Policy, Verdict, error) {
	verdict := Verdict{Errors: []FieldProblem{}, Warnings: []FieldProblem{}}
	draft, err := parseDraft(name, text)
	if err == nil {
		err = s.fitsOthers(ctx, draft, text)
	}
	var invalid policies.ValidationErrors
	switch {
	case errors.As(err, &invalid):
		verdict.Errors = fieldProblems(invalid)
	case err != nil:
		return nil, Verdict{}, err
	default:
		verdict.Valid = true
	}
	return draft, verdict, nil
}

// warningsOf says what of a draft is allowed and probably not meant: by itself,
// for its service, and on the cluster, which is asked.
func (s *Server) warningsOf(ctx context.Context, draft *policies.Policy, text string) []FieldProblem {
	found := policies.Warnings(draft, s.usualColdStart(ctx, draft.Name))
	if s.cfg.Room != nil {
		ctx, cancel := context.WithTimeout(ctx, roomTimeout)
		defer cancel()
		if room, err := s.cfg.Room(ctx, draft); err != nil {
			found = append(found, policies.RoomUnknown(draft, err)...)
		} else {
			found = append(found, policies.BeyondRoom(draft, room)...)
		}
	}
	warnings := fieldProblems(policies.LocateIn(text, found))
	if len(s.cfg.Specs) > 0 && !slices.Contains(s.cfg.Specs, draft.Job) {
		warnings = append(warnings, FieldProblem{Field: "job", Line: lineOf(text, "job"),
			Message: "no job spec of the id " + strconv.Quote(draft.Job) + " is known here", Allowed: strings.Join(s.cfg.Specs, ", ")})
	}
	return warnings
}

// roomTimeout bounds what the fleet is waited for, whoever implements Room: a
// warning is not worth more.
const roomTimeout = 1500 * time.Millisecond

func (s *Server) fitsOthers(ctx context.Context, draft *policies.Policy, text string) error {
	others, err := s.policiesInForce(ctx)
	if err != nil {
		return err
	}
	return policies.CheckDraft(draft, text, others)
}

// policiesInForce are those that can be read.
func (s *Server) policiesInForce(ctx context.Context) ([]*policies.Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	current, err := s.listPolicies(ctx)
	if err != nil {
		return nil, fromStore(fmt.Errorf("read the policies: %w", err))
	}
	parsed := make([]*policies.Policy, 0, len(current))
	for _, v := range current {
		if v.Policy != nil {
			parsed = append(parsed, v.Policy)
		}
	}
	return parsed, nil
}
