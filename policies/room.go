package policies

import (
	"fmt"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// BeyondRoom warns, without a place, of a max of replicas that the cluster could
// not run if nothing else ran there. Nothing is said where replicas ask for no
// GPUs. A cluster may grow, so it is never an error.
func BeyondRoom(p *Policy, room jobs.Room) []FieldError {
	if room.PerReplica == 0 || p.Replicas.Max <= room.Replicas {
		return nil
	}
	device := room.Device
	if device == "gpu" { // of any maker
		device = "GPUs"
	}
	has := fmt.Sprintf("the cluster has %d healthy %s", room.GPUs, device)
	if room.Nodes > 0 {
		has += fmt.Sprintf(" on %d node", room.Nodes)
		if room.Nodes > 1 {
			has += "s"
		}
	}
	if room.Where != "" {
		has += " in " + room.Where
	}
	so := fmt.Sprintf("at most %d can run at once", room.Replicas)
	allowed := fmt.Sprintf("at most %d, or more nodes", room.Replicas)
	if room.Replicas == 0 {
		so = "not one replica can start"
		allowed = "a max that other nodes will have room for; pilotlight doctor lists what nodes have"
	}
	if room.GPUs >= room.PerReplica*(room.Replicas+1) {
		so += fmt.Sprintf(", because a replica needs its %d on one node", room.PerReplica)
	}
	message := fmt.Sprintf("%d × %s = %s, but %s: %s", p.Replicas.Max, gpuCount(room.PerReplica), gpuCount(p.Replicas.Max*room.PerReplica), has, so)
	if len(room.Left) > 0 {
		message += "; not counted: " + strings.Join(room.Left, ", ")
	}
	return []FieldError{{Policy: p.Name, Field: "replicas.max", Message: message, Allowed: allowed}}
}

// RoomUnknown warns, without a place, that nobody could say what the cluster has.
func RoomUnknown(p *Policy, why error) []FieldError {
	return []FieldError{{Policy: p.Name, Field: "replicas.max",
		Message: fmt.Sprintf("%d could not be compared with the GPUs of the cluster (%v); pilotlight doctor says more", p.Replicas.Max, why)}}
}

func gpuCount(n int) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}
