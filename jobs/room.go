package jobs

// Room is how many replicas of one job group a cluster could run if nothing else
// ran there, as far as GPUs limit it.
type Room struct {
	PerReplica int      // GPUs of one replica; 0: it asks for none, and they limit nothing
	Device     string   // as the group asks for them: "nvidia/gpu"; several joined by " and "
	GPUs       int      // healthy ones that match, on nodes that take replicas of the group now
	Nodes      int      // that have them
	Replicas   int      // that find their GPUs together on one node
	Where      string   // what the job keeps to: "datacenter dc1"; "" if it may go anywhere
	Left       []string // what matches and is not in GPUs: "8 on 1 node being drained"
}
