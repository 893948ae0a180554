package web

import (
	"slices"
	"strings"
)

// diffLine is one line of a comparison of two texts.
type diffLine struct {
	Kind     string // "same", "added", "removed", "gap"
	Old, New int    // line numbers, 0 where it is not
	Text     string
	Skipped  int // of a gap: lines left out
}

// Sign is how a line is marked besides its colour.
func (l diffLine) Sign() string {
	switch l.Kind {
	case "added":
		return "+"
	case "removed":
		return "−"
	}
	return " "
}

const (
	diffContext = 3         // unchanged lines around a change
	diffEffort  = 4_000_000 // cells of the comparison; beyond, the middle is shown as replaced
)

// diffText compares two texts line by line; none if they are equal.
func diffText(from, to string) []diffLine {
	a, b := splitLines(from), splitLines(to)
	if slices.Equal(a, b) {
		return nil
	}
	return withGaps(diffLines(a, b))
}

func splitLines(text string) []string {
	text = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func diffLines(a, b []string) []diffLine {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	keep := commonLines(a[head:len(a)-tail], b[head:len(b)-tail])
	var out []diffLine
	i, j := 0, 0
	emit := func(kind string) {
		switch kind {
		case "removed":
			out = append(out, diffLine{Kind: kind, Old: i + 1, Text: a[i]})
			i++
		case "added":
			out = append(out, diffLine{Kind: kind, New: j + 1, Text: b[j]})
			j++
		default:
			out = append(out, diffLine{Kind: kind, Old: i + 1, New: j + 1, Text: a[i]})
			i, j = i+1, j+1
		}
	}
	for i < head {
		emit("same")
	}
	for _, pair := range append(keep, [2]int{len(a) - tail - head, len(b) - tail - head}) {
		for i < head+pair[0] {
			emit("removed")
		}
		for j < head+pair[1] {
			emit("added")
		}
		if i < len(a) && j < len(b) {
			emit("same")
		}
	}
	for i < len(a) {
		emit("same")
	}
	return out
}

// commonLines is a longest common subsequence of a and b, as pairs of indexes.
func commonLines(a, b []string) [][2]int {
	if len(a)*len(b) > diffEffort {
		return nil
	}
	longest := make([][]int, len(a)+1) // of the suffixes from i and j
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case longest[i+1][j] >= longest[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// withGaps leaves out unchanged lines that are far from any change.
func withGaps(lines []diffLine) []diffLine {
	near := make([]bool, len(lines))
	for i, l := range lines {
		if l.Kind == "same" {
			continue
		}
		for k := max(0, i-diffContext); k <= min(len(lines)-1, i+diffContext); k++ {
			near[k] = true
		}
	}
	var out []diffLine
	for i := 0; i < len(lines); i++ {
		if near[i] {
			out = append(out, lines[i])
			continue
		}
		gap := 0
		for i < len(lines) && !near[i] {
			gap, i = gap+1, i+1
		}
		i--
		out = append(out, diffLine{Kind: "gap", Skipped: gap})
	}
	return out
}
