package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/specs"
	"github.com/pilotlight/pilotlight/nomad"
)

// needsNomad is what a check finds that cannot be done without Nomad.
func needsNomad(check string) []finding {
	return []finding{skipped(check, "Nomad was not reached")}
}

// checkReach asks what needs no right.
func (x *examination) checkReach(ctx context.Context) []finding {
	const check = "nomad"
	if x.nomad == nil {
		f := skipped(check, "no Nomad was named")
		f.Do = "give --nomad or set NOMAD_ADDR to have it examined"
		return []finding{f}
	}
	to, err := x.nomad.Reach(ctx)
	if err != nil {
		return []finding{failed(check, "check --nomad or NOMAD_ADDR, NOMAD_CACERT and that the agent runs", "Nomad at %s does not answer: %v", shownAddress(x.address), err)}
	}
	x.reached = true
	if to.Leader == "" {
		return []finding{failed(check, "see the servers' log: nothing can be launched or stopped until they have elected a leader",
			"Nomad at %s answers in %s and has no leader", shownAddress(to.Address), brief(to.Latency))}
	}
	found := []finding{passed(check, "Nomad at %s answers in %s; leader %s, region %s",
		shownAddress(to.Address), brief(to.Latency), to.Leader, cmp.Or(strings.Join(to.Regions, ", "), "unknown"))}
	if to.Latency > 50*time.Millisecond {
		found[0].Result, found[0].Do = resultWarning, "run the scaler near Nomad: the way there is part of every cold start"
	}
	const clock = "nomad-clock"
	if to.Clock.Off(skewLimit) {
		return append(found, warned(clock, "run NTP (chrony, systemd-timesyncd) on both machines",
			"the agent's clock is %s this machine's", apart(to.Clock.Ahead)))
	}
	return append(found, passed(clock, "the agent's clock agrees with this machine's to %s, as far as whole seconds tell", to.Clock.Within.Round(100*time.Millisecond)))
}

// shownAddress is without the password that a URL may have.
func shownAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the given address"
	}
	return u.Redacted()
}

func (x *examination) checkToken(ctx context.Context) []finding {
	const check = "nomad-token"
	if !x.reached {
		return needsNomad(check)
	}
	token, err := x.nomad.Token(ctx)
	switch {
	case errors.Is(err, jobs.ErrDenied):
		x.acl, x.unknown = true, true
		return []finding{failed(check, "put a valid token's secret into NOMAD_TOKEN", "Nomad does not know this token, or it has expired")}
	case err != nil:
		return []finding{failed(check, "see the finding on Nomad", "the token cannot be looked up: %v", err)}
	case !token.ACL:
		if x.onLoopback() {
			return []finding{passed(check, "ACLs are off: everybody who reaches Nomad may do everything")}
		}
		return []finding{warned(check, "enable ACLs in Nomad: acl { enabled = true }", "ACLs are off: everybody who reaches Nomad may do everything")}
	}
	x.acl = true
	who := fmt.Sprintf("token %q (accessor %s)", token.Name, token.Accessor)
	switch left := time.Until(token.Expires); {
	case token.Accessor == "anonymous":
		return []finding{warned(check, "put a token's secret into NOMAD_TOKEN", "no token was given: the anonymous one counts")}
	case !token.Expires.IsZero() && left < 7*24*time.Hour:
		return []finding{warned(check, "replace it before", "%s expires in %s", who, left.Round(time.Minute))}
	case token.Management:
		return []finding{warned(check, "make a token with the least policy that suffices: "+leastPolicy(), "%s is a management token: it may do everything", who)}
	}
	return []finding{passed(check, "%s has %s", who, cmp.Or(strings.Join(token.Policies, ", "), "no policy"))}
}

// leastPolicy is the shipped policy without its comments, in one line.
func leastPolicy() string {
	var words []string
	for line := range strings.Lines(specs.Policy) {
		line, _, _ = strings.Cut(line, "#")
		words = append(words, strings.Fields(line)...)
	}
	return strings.Join(words, " ")
}

func (x *examination) onLoopback() bool {
	u, err := url.Parse(x.address)
	return err == nil && (u.Scheme == "unix" || u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost" || u.Hostname() == "::1")
}

// namespaces of the policies, or the configured one.
func (x *examination) namespaces() []string {
	var all []string
	for _, p := range x.policies {
		all = append(all, cmp.Or(p.Namespace, x.namespace))
	}
	if len(all) == 0 {
		all = []string{x.namespace}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// checkRights tries each needed thing without doing it.
func (x *examination) checkRights(ctx context.Context) []finding {
	const check = "nomad-rights"
	switch {
	case !x.reached:
		return needsNomad(check)
	case !x.acl:
		return []finding{skipped(check, "ACLs are off")}
	case x.unknown:
		return []finding{skipped(check, "the token is not known: it may do nothing")}
	}
	var found []finding
	for _, namespace := range x.namespaces() {
		known, err := x.nomad.NamespaceKnown(ctx, namespace)
		if err == nil && !known {
			found = append(found, failed(check, "nomad namespace apply "+namespace+", or change the policies", "Nomad has no namespace %q", namespace))
			continue
		}
		rights, err := x.nomad.Rights(ctx, namespace)
		if err != nil {
			return append(found, failed(check, "run doctor again", "the rights in namespace %q could not be tried: %v", namespace, err))
		}
		found = append(found, x.judgeRights(check, fmt.Sprintf("in namespace %q", namespace), namespace, rights)...)
	}
	rights, err := x.nomad.ClusterRights(ctx)
	if err != nil {
		return append(found, failed(check, "run doctor again", "the rights in the cluster could not be tried: %v", err))
	}
	return append(found, x.judgeRights(check, "in the cluster", "", rights)...)
}

// judgeRights: one finding for what is granted, and one for each line that the
// token's policy lacks.
func (x *examination) judgeRights(check, where, namespace string, rights []nomad.Right) []finding {
	var granted []string
	var found []finding
	missing := map[string][]nomad.Right{} // by the line that grants them
	for _, r := range rights {
		if was, seen := x.allowed[r.Name]; !seen || was == nomad.RightGranted {
			x.allowed[r.Name] = r.State
		}
		switch r.State {
		case nomad.RightGranted:
			granted = append(granted, r.Name)
		case nomad.RightUnknown:
			f := skipped(check, "%s %s could not be tried: %s", r.Name, where, r.Why)
			f.Do = fmt.Sprintf("see that the token's policy has it, to %s: %s", r.For, nomad.Grant(namespace, r))
			found = append(found, f)
		default:
			line := nomad.Grant(namespace, r)
			missing[line] = append(missing[line], r)
		}
	}
	for line, without := range missing {
		found = append(found, lacking(check, where, line, without))
	}
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Or(cmp.Compare(a.Result, b.Result), cmp.Compare(a.Found, b.Found)) })
	if len(granted) > 0 {
		found = slices.Insert(found, 0, passed(check, "%s the token has %s", where, strings.Join(granted, ", ")))
	}
	return found
}

// lacking is what is missing with one line of an ACL policy.
func lacking(check, where, line string, without []nomad.Right) finding {
	f := warned(check, "add to the token's policy: "+line, "")
	var names, purposes []string
	for _, r := range without {
		names, purposes = append(names, r.Name), append(purposes, r.For)
		switch {
		case r.Needed:
			f.Result = resultError
		case r.Name == nomad.RightAgentRead: // for information only
			f.Result = resultSkipped
		}
	}
	f.Found = fmt.Sprintf("%s the token lacks %s, to %s", where, strings.Join(names, ", "), strings.Join(purposes, "; "))
	return f
}

// may reports whether a right is there, or need not be.
func (x *examination) may(right string) bool {
	state, tried := x.allowed[right]
	return !x.acl || tried && state != nomad.RightMissing
}

// checkEvents listens for the first heartbeat: a refused stream answers 200.
func (x *examination) checkEvents(ctx context.Context) []finding {
	const check = "nomad-events"
	switch {
	case !x.reached:
		return needsNomad(check)
	case x.unknown:
		return []finding{skipped(check, "the token is not known: it may do nothing")}
	}
	ofNodes := x.may(nomad.RightNodeRead) // without it the fleet leaves them out
	var found []finding
	for _, scope := range nomad.Scopes(x.namespaces()) {
		of := fmt.Sprintf("the event stream of namespace %q", scope)
		took, err := x.nomad.Stream(ctx, scope, ofNodes)
		switch {
		case errors.Is(err, nomad.ErrSilentStream):
			f := failed(check, fmt.Sprintf("add to the token's policy: namespace %q { capabilities = [\"read-job\"] }", scope),
				"%s answers 200 and then nothing for 2 s: Nomad refuses it that way", of)
			if scope == "*" {
				f.Found += "; for so many namespaces Pilotlight opens one stream of all"
			} else if x.may("read-job") {
				f.Do = "see the servers' log and their load; a proxy in front of Nomad must not buffer answers"
			}
			found = append(found, f)
		case err != nil:
			found = append(found, failed(check, "see the findings on Nomad and on the token", "%s: %v", of, err))
		default:
			found = append(found, passed(check, "%s has its first heartbeat after %s", of, brief(took)))
		}
	}
	if !ofNodes {
		found = append(found, skipped(check, "events of nodes need node read: node drains are seen late"))
	}
	return found
}
