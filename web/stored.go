package web

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/policies"
)

// listPolicies are all policies, by name. One that is not valid in this version
// of the program has no Policy; its text can be shown and put right.
func (s *Server) listPolicies(ctx context.Context) ([]policies.Version, error) {
	list, err := s.cfg.Policies.List(ctx)
	var unreadable *policies.UnreadableError
	if !errors.As(err, &unreadable) {
		return list, err
	}
	list = append(list, unreadable.Versions...)
	slices.SortFunc(list, func(a, b policies.Version) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// textProblems are why a stored policy is not valid here; none if it is.
func textProblems(v policies.Version) []FieldProblem {
	if v.Policy != nil {
		return nil
	}
	_, err := parseDraft(v.Name, v.Text)
	var invalid policies.ValidationErrors
	errors.As(err, &invalid)
	return fieldProblems(invalid)
}
