package simulate

import "time"

// tokens reads a line of a request whose time in a slot follows from its size.
func (t *Trace) tokens() (Request, error) {
	var cells [4]string
	r, err := t.arrival(cells[:])
	if err != nil {
		return Request{}, err
	}
	in, err := t.number(cells[2], "input_tokens", mostTokens)
	if err != nil {
		return Request{}, err
	}
	out, err := t.number(cells[3], "output_tokens", mostTokens)
	if err != nil {
		return Request{}, err
	}
	slot := t.of.Base + time.Duration(in)*t.of.Input + time.Duration(out)*t.of.Output
	if slot > mostSlotMS*time.Millisecond {
		return Request{}, t.wrong("input_tokens, output_tokens: %d and %d take %v in a slot, at %v and %v each; allowed: up to %v",
			in, out, slot.Round(time.Second), t.of.Input, t.of.Output, mostSlotMS*time.Millisecond)
	}
	r.Seconds = slot.Seconds()
	return r, nil
}

// timed reads a line of a request whose time in a slot was measured.
func (t *Trace) timed() (Request, error) {
	var cells [3]string
	r, err := t.arrival(cells[:])
	if err != nil {
		return Request{}, err
	}
	ms, err := t.number(cells[2], "slot_ms", mostSlotMS)
	r.Seconds = float64(ms) / 1000
	return r, err
}

// arrival reads a line into cells: when the request came, and to which service.
func (t *Trace) arrival(cells []string) (Request, error) {
	if err := t.row(cells); err != nil {
		return Request{}, err
	}
	ms, err := t.moment(cells[0], "t_ms", time.Millisecond)
	if err != nil {
		return Request{}, err
	}
	if err := t.ordered(ms, t.base, "t_ms"); err != nil {
		return Request{}, err
	}
	name, err := t.service(cells[1])
	return Request{At: time.Duration(ms) * time.Millisecond, Service: name}, err
}
