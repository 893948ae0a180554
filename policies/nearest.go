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

// distance is the least number of letters to insert, remove, replace or swap
// with their neighbour (optimal string alignment); limit+1 stands for anything
// above limit. Names are ASCII, so bytes are letters.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	// Rows of the table of distances between the beginnings of a and of b.
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, before
		row[0] = i + 1
		for j := range len(b) {
			replaced := above[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return min(row[len(b)], limit+1)
}
