package policies

// nearest returns the name that somebody who wrote word most likely meant, ""
// if none is near: at most a third of the word's letters may differ, at least
// one and at most three.
func nearest(word string, names []string) string {
	limit := min(max(len(word)/3, 1), 3)
	best, found := limit+1, ""
	for _, name := range names {
		if d := distance(word, name, limit); d < best {
			best, found = d, name
		}
	}
	return found
}

// distance is Levenshtein's: the least number of letters to insert, remove or
// replace; limit+1 stands for anything above limit. Names are ASCII, so bytes
// are letters.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit+1)
}
