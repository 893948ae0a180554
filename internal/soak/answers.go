package soak

// answers: whoever reads the answer of a request with a key, or of an async one,
// is served the same, of one execution; and no answer is another's.
func (a *auditor) answers(r *Request) {
	var first *Call
	for i, c := range r.Calls {
		if c.Wrong != "" {
			a.broken("answers", r.ID, "%s at activator %d, %s to %s: %s", c.What, c.Activator, clock(c.At), clock(c.Until), c.Wrong)
		}
		if !c.Answered() {
			continue
		}
		if c.Execution != "" && !a.ran(r.ID, c.Execution) {
			a.broken("answers", r.ID, "its answer is of execution %s, which is not one of its own", c.Execution)
		}
		if !r.Keyed && !r.Async || c.What == "state" || c.What == "DELETE" {
			continue
		}
		if first == nil {
			first = &r.Calls[i]
		} else if c.Sum != first.Sum {
			a.broken("answers", r.ID, "two answers: %s at activator %d (%s) got that of %q, %s at activator %d (%s) that of %q",
				first.What, first.Activator, clock(first.At), first.Execution, c.What, c.Activator, clock(c.At), c.Execution)
		}
	}
}

func (a *auditor) ran(request, execution string) bool {
	for _, x := range a.runs[request] {
		if x.Name == execution {
			return true
		}
	}
	return false
}
