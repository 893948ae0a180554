package policies

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// duration is a time.Duration, written as Go writes one.
type duration struct {
	min, max time.Duration
	example  time.Duration
}

func (duration) kind() string { return "duration" }

func (d duration) allowed() string {
	s := "a Go duration of at least " + durationText(d.min)
	if d.min == 0 {
		s = "a Go duration"
	}
	return s + ", at most " + durationText(d.max) + ", such as " + strconv.Quote(durationText(d.example))
}

func (d duration) read(written any) (any, string) {
	s, ok := written.(string)
	if !ok {
		return nil, isNot(written, "a duration")
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return nil, isNot(written, "a duration")
	}
	return v, ""
}

func (d duration) check(value any) string {
	switch v := value.(time.Duration); {
	case v < d.min:
		return strconv.Quote(durationText(v)) + " is too short"
	case v > d.max:
		return strconv.Quote(durationText(v)) + " is too long"
	}
	return ""
}

func (d duration) plain(value any) any { return durationText(value.(time.Duration)) }

// durationText is d.String() without trailing zero units: "1m", not "1m0s".
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// wait is the value of a field that takes a word or a duration: the duration
// counts only if word is "".
type wait struct {
	word   string
	length time.Duration
}

// wordOr is a duration, or one of some words in its place.
type wordOr struct {
	words []string
	or    duration
}

func (wordOr) kind() string      { return "duration or word" }
func (w wordOr) allowed() string { return quoted(w.words) + ", or " + w.or.allowed() }

func (w wordOr) read(written any) (any, string) {
	s, ok := written.(string)
	if !ok {
		return nil, isNot(written, "a duration nor "+quoted(w.words))
	}
	for _, word := range w.words {
		if s == word {
			return wait{word: word}, ""
		}
	}
	d, problem := w.or.read(s)
	if problem != "" {
		if near := nearest(s, w.words); near != "" {
			problem += ", did you mean " + strconv.Quote(near) + "?"
		}
		return nil, problem
	}
	return wait{length: d.(time.Duration)}, ""
}

func (w wordOr) check(value any) string {
	v := value.(wait)
	for _, word := range w.words {
		if v.word == word {
			return ""
		}
	}
	if v.word != "" {
		return show(v.word) + " is not one of the words"
	}
	return w.or.check(v.length)
}

func (w wordOr) plain(value any) any {
	if v := value.(wait); v.word == "" {
		return w.or.plain(v.length)
	} else {
		return v.word
	}
}

// size is a number of bytes, written with a binary unit.
type size struct{ min, max int64 }

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (size) kind() string { return "size" }

func (s size) allowed() string {
	return "a whole number of B, KiB, MiB, GiB or TiB from " + sizeText(s.min) + " to " + sizeText(s.max) + `, such as "256MiB"`
}

func (s size) read(written any) (any, string) {
	t, ok := written.(string)
	if !ok {
		return nil, isNot(written, "a size")
	}
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(t, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil {
			break
		}
		if n > uint64(math.MaxInt64/unit.bytes) {
			return nil, show(t) + " is out of range"
		}
		return int64(n) * unit.bytes, ""
	}
	return nil, isNot(written, "a size")
}

func (s size) check(value any) string {
	if n := value.(int64); n < s.min || n > s.max {
		return strconv.Quote(sizeText(n)) + " is out of range"
	}
	return ""
}

func (s size) plain(value any) any { return sizeText(value.(int64)) }

// sizeText writes bytes in the greatest unit that divides them.
func sizeText(bytes int64) string {
	for _, unit := range sizeUnits {
		if bytes%unit.bytes == 0 && bytes != 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.name
		}
	}
	return "0B"
}
