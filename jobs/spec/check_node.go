package spec

import (
	"fmt"

	"github.com/pilotlight/pilotlight/jobs"
)

// longLoss is how long a replica on a node out of reach may go unreplaced.
const longLoss = slowReplacement

// disconnect: Pilotlight gives no slot to a replica whose node is out of reach,
// but the place in the count is Nomad's to fill again.
func (c *checker) disconnect(g *jobs.Group, path string) {
	d := g.Disconnect
	if d == nil || d.Replace || d.LostAfter > 0 && d.LostAfter <= longLoss {
		return
	}
	at, setting := path+".disconnect.replace", "disconnect.replace = false"
	if !c.survey.has(path+".disconnect") && c.survey.has(path+".prevent_reschedule_on_lost") {
		at, setting = path+".prevent_reschedule_on_lost", "prevent_reschedule_on_lost"
	}
	const allowed = "no such setting: a replica is as good on any node, and Nomad replaces it at once"
	if d.LostAfter == 0 {
		c.fail(RuleDisconnect, at, d.Line,
			setting+": a replica whose node is lost is not replaced until the node is back, and its place in the count stays taken; with replicas.max = 1 the service is down until then", allowed)
		return
	}
	c.warn(RuleDisconnect, at, d.Line,
		fmt.Sprintf("%s: a replica whose node is out of reach gets no requests, and is not replaced for %s", setting, d.LostAfter), allowed)
}

// ephemeralDisk: what artifacts download lands there.
func (c *checker) ephemeralDisk(g *jobs.Group, path string) {
	disk := g.EphemeralDisk
	if disk.Migrate {
		c.warn(RuleEphemeralDisk, path+".ephemeral_disk.migrate", disk.Line,
			"ephemeral_disk.migrate copies the old allocation's files, weights included, to the new one before it may start: a cold start more",
			"migrate = false; a host volume keeps what several starts need")
	}
	for _, t := range g.Tasks {
		if t.Artifacts > 0 && disk.SizeMB <= defaultDiskMB {
			c.warn(RuleEphemeralDisk, path+".ephemeral_disk.size", g.Line,
				fmt.Sprintf("task %q downloads artifacts to a disk of %d MB: Nomad does not count on more when it chooses a node, and the node's disk fills", t.Name, disk.SizeMB),
				"ephemeral_disk { size = … } in MB, above what the artifacts take")
			return
		}
	}
}
