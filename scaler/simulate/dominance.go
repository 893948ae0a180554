package simulate

// tie is the difference below which two figures are taken for the same.
const tie = 0.01

// notHigher reports whether a is at most b, but for a tie. Waits that differ by
// less than a millisecond are the same: they are not measured finer.
func notHigher(a, b float64) bool { return a <= b*(1+tie)+0.001 }

// Dominates reports whether r is better than other without being worse: it needs
// fewer GPU-seconds, its requests wait no longer in the mean and at the 99th
// percentile, and no more of them are left without an answer.
func (r Result) Dominates(other Result) bool {
	return r.GPUSeconds < other.GPUSeconds*(1-tie) &&
		notHigher(r.AddedWait.Mean, other.AddedWait.Mean) && notHigher(r.AddedWait.P99, other.AddedWait.P99) &&
		r.Refused+r.TimedOut <= other.Refused+other.TimedOut
}

// Ties reports whether r would dominate other if it were not as dear: all the
// same but GPU-seconds within 1 % of each other.
func (r Result) Ties(other Result) bool {
	return !r.Dominates(other) && notHigher(r.GPUSeconds, other.GPUSeconds) &&
		notHigher(r.AddedWait.Mean, other.AddedWait.Mean) && notHigher(r.AddedWait.P99, other.AddedWait.P99) &&
		r.Refused+r.TimedOut <= other.Refused+other.TimedOut
}
