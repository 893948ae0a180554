package jobs

import "time"

// Shadow is a draft of a policy that runs beside the one in force: it decides on
// the same signals, and its decisions are recorded and never carried out.
type Shadow struct {
	ID      string    `json:"id"` // another one for each draft that is set
	Text    string    `json:"text"`
	Author  string    `json:"author"`
	Comment string    `json:"comment"`
	At      time.Time `json:"at"` // since when it is set
}

// ShadowStanding is how a shadow compares with the policy in force since it began
// to decide.
type ShadowStanding struct {
	At             time.Time `json:"at"`
	ObservedS      float64   `json:"observed_s"` // seconds that both were looked at; not those without a scaler
	Wanted         int       `json:"wanted"`
	LiveWanted     int       `json:"live_wanted"`
	Ready          int       `json:"ready"`            // of the replicas that it would have
	DiffersS       float64   `json:"differs_s"`        // of ObservedS, those in which the two wanted different counts
	GPUSeconds     float64   `json:"gpu_seconds"`      // of the replicas that it would have had
	LiveGPUSeconds float64   `json:"live_gpu_seconds"` // of those that were there
	Decisions      uint64    `json:"decisions"`        // that changed the count
	Failure        string    `json:"failure"`          // why it does not decide, in a sentence; "" while it does
}

// ShadowStep is a moment at which a shadow or the policy in force began to want
// another count.
type ShadowStep struct {
	At     time.Time `json:"at"`
	Wanted int       `json:"wanted"` // by the shadow
	Live   int       `json:"live"`   // by the policy in force
}
