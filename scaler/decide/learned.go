package decide

const (
	learnedWeight = 0.2
	enoughLearned = 4
)

// learned is a mean of what happened, with one thing more, and of how many it is: the
// first few weigh alike, with the prior that the mean began as; after enoughLearned
// of them each has learnedWeight, so that what is long ago is forgotten.
func learned(mean float64, of int, one float64) (float64, int) {
	weight := max(learnedWeight, 1/float64(of+2))
	return (1-weight)*mean + weight*one, min(of+1, enoughLearned)
}
