package decide

// inputs are the intermediate figures of one decision by symbol, as they are
// noted. They are kept only where the decision is told, and then become its map:
// most looks are not.
type inputs struct {
	list *[maxInputs]input // nil: nobody is told
	n    int
}

const maxInputs = 32

type input struct {
	symbol string
	value  float64
	whole  bool // an int
	text   string
}

func (in *inputs) add(i input) {
	if in.list != nil && in.n < maxInputs {
		in.list[in.n] = i
		in.n++
	}
}

func (in *inputs) count(symbol string, n int) {
	in.add(input{symbol: symbol, value: float64(n), whole: true})
}
func (in *inputs) set(symbol string, v float64)   { in.add(input{symbol: symbol, value: v}) }
func (in *inputs) say(symbol string, text string) { in.add(input{symbol: symbol, text: text}) }

// told is the map of a decision; of a symbol noted twice the later value.
func (in *inputs) told() map[string]any {
	m := make(map[string]any, in.n)
	for k := range in.n {
		i := &in.list[k]
		switch {
		case i.text != "":
			m[i.symbol] = i.text
		case i.whole:
			m[i.symbol] = int(i.value)
		default:
			m[i.symbol] = i.value
		}
	}
	return m
}
