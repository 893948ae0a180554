package policies

import (
	"cmp"
	"fmt"
	"slices"
)

// CheckSet returns ValidationErrors, without places, if two policies have one
// name, would run one job group or would take the same requests, else nil.
//
// A job group has one policy: two would each set its count to what they want
// themselves, and stop each other's replicas. A policy that names no group
// clashes with every other one of the job, whose only group it may mean.
//
// Different prefixes never clash, since the longest one wins; neither do a host
// by its name and any host, since the name wins.
func CheckSet(set []*Policy) error {
	var errs ValidationErrors
	names := map[string]bool{}
	runners := map[workload][]*Policy{}
	owners := map[claim]string{}
	for _, p := range set {
		if names[p.Name] {
			errs = append(errs, FieldError{
				Policy: p.Name, Field: "name",
				Message: fmt.Sprintf("%q names a second policy", p.Name), Allowed: "another name",
			})
			continue
		}
		names[p.Name] = true
		w := workload{p.Namespace, p.Job}
		if i := slices.IndexFunc(runners[w], p.sharesGroup); i >= 0 {
			errs = append(errs, FieldError{
				Policy: p.Name, Field: "job",
				Message: fmt.Sprintf("%s is run by policy %q already", groupOf(p), runners[w][i].Name),
				Allowed: "a job, or a group of it, that no other policy runs",
			})
		}
		runners[w] = append(runners[w], p)
		for _, c := range claims(p) {
			owner, taken := owners[c]
			if !taken {
				owners[c] = p.Name
				continue
			}
			errs = append(errs, FieldError{
				Policy: p.Name, Field: "route." + c.list,
				Message: fmt.Sprintf("%s is routed by policy %q already", c, owner),
				Allowed: "what no other policy routes",
			})
		}
	}
	return errs.err()
}

// CheckDraft returns ValidationErrors, with their places in text, if draft may
// not stand beside the others as CheckSet judges it, else nil. text is what
// draft was parsed from. What the others have against each other is no error of
// the draft, and its present version among them is left out.
func CheckDraft(draft *Policy, text string, others []*Policy) error {
	set := slices.DeleteFunc(slices.Clone(others), func(p *Policy) bool { return p.Name == draft.Name })
	slices.SortFunc(set, func(a, b *Policy) int { return cmp.Compare(a.Name, b.Name) })
	errs, _ := CheckSet(append(set, draft)).(ValidationErrors) // the draft last: a clash is its error
	errs = slices.DeleteFunc(errs, func(e FieldError) bool { return e.Policy != draft.Name })
	return ValidationErrors(LocateIn(text, errs)).err()
}

// workload is the job that a policy runs a group of.
type workload struct{ namespace, job string }

// sharesGroup reports whether two policies of one job run the same group of it.
func (p *Policy) sharesGroup(other *Policy) bool {
	return p.Group == other.Group || p.Group == "" || other.Group == ""
}

// groupOf names the job group of a policy in an error.
func groupOf(p *Policy) string {
	job := fmt.Sprintf("%q in namespace %q", p.Job, p.Namespace)
	if p.Group != "" {
		return fmt.Sprintf("group %q of %s", p.Group, job)
	}
	return job
}

// claim is one thing by which a policy takes requests: a path prefix or a model
// at one host, or all of a host.
type claim struct {
	list  string // of Route: path_prefixes, models, hosts
	host  string // "" is any
	value string // "" for hosts
}

func (c claim) String() string {
	switch {
	case c.list == "hosts":
		return fmt.Sprintf("host %q", c.host)
	case c.host != "":
		return fmt.Sprintf("%q at host %q", c.value, c.host)
	default:
		return fmt.Sprintf("%q", c.value)
	}
}

func claims(p *Policy) []claim {
	hosts := p.Route.Hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	var all []claim
	for _, host := range hosts {
		for _, prefix := range p.Route.PathPrefixes {
			all = append(all, claim{"path_prefixes", host, prefix})
		}
		for _, model := range p.Route.Models {
			all = append(all, claim{"models", host, model})
		}
		if len(p.Route.PathPrefixes)+len(p.Route.Models) == 0 && host != "" {
			all = append(all, claim{"hosts", host, ""})
		}
	}
	return all
}
