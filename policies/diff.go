package policies

// Change is one field in which two policies differ.
type Change struct {
	Field string `json:"field"`
	From  string `json:"from"` // as written in HCL, "" if not named
	To    string `json:"to"`
}

// Diff returns the fields in which b differs from a, in the order in which they
// are written. A nil policy stands for one that is not there: the others'
// fields are then compared with the defaults.
func Diff(a, b *Policy) []Change {
	var changes []Change
	name := func(p *Policy) string {
		if p == nil {
			return ""
		}
		return valueText(p.Name)
	}
	if from, to := name(a), name(b); from != to {
		changes = append(changes, Change{"name", from, to})
	}
	if a == nil {
		a = New("")
	}
	if b == nil {
		b = New("")
	}
	all := fieldsOf(a)
	for _, f := range fieldsOf(b) {
		if fieldIn(a, f.path) == nil {
			all = append(all[:len(all):len(all)], f)
		}
	}
	for _, f := range all {
		if !f.differs(b, a) {
			continue
		}
		changes = append(changes, Change{f.path, valueText(f.plainValue(a)), valueText(f.plainValue(b))})
	}
	return changes
}
