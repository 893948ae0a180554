package decide

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// short writes a duration without its empty ends: 1m, 1m30s, 0s.
func short(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// figure writes a number with two digits behind the point at most.
func figure(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// clip shortens somebody else's words to fit in a sentence.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 200
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xC0 == 0x80 { // not amid a rune
		cut--
	}
	return s[:cut] + "…"
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
