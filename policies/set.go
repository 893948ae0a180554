package policies

import "fmt"

// CheckSet returns ValidationErrors, without places, if two policies have one
// name or would take the same requests, else nil. Different prefixes never
// clash, since the longest one wins; neither do a host by its name and any host,
// since the name wins.
func CheckSet(set []*Policy) error {
	var errs ValidationErrors
	names := map[string]bool{}
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
