package decide

// Service time: a mean of the first completions, then an average that forgets.
const (
	plainMean      = 50
	serviceWeight  = 0.02 // of one completion
	mostCompletion = 10 * plainMean
)

// ServiceTime is the mean time of a request in a slot.
type ServiceTime struct {
	MeanSeconds float64 `json:"mean_s"`
	Count       int     `json:"count"` // completions behind it; 0 = unknown, use the prior
}

// With returns the service time after n more completions that took so many
// seconds together.
func (t ServiceTime) With(n uint64, seconds float64) ServiceTime {
	for range min(n, mostCompletion) { // more change nothing that can be seen
		mean := seconds / float64(n)
		t.Count++
		w := serviceWeight
		if t.Count <= plainMean {
			w = 1 / float64(t.Count)
		}
		t.MeanSeconds += w * (mean - t.MeanSeconds)
	}
	return t
}
