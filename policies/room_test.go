package policies

import (
	"errors"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestAMaxBeyondTheClusterIsWarnedOfInFigures(t *testing.T) {
	for _, c := range []struct {
		name string
		max  int
		room jobs.Room
		want string
	}{
		{"it fits exactly", 8, jobs.Room{PerReplica: 2, Device: "nvidia/gpu", GPUs: 16, Nodes: 4, Replicas: 8}, ""},
		{"replicas without GPUs", 8, jobs.Room{}, ""},
		{"more than there are", 12, jobs.Room{PerReplica: 2, Device: "nvidia/gpu", GPUs: 16, Nodes: 4, Replicas: 8, Where: "datacenter dc1", Left: []string{"4 on 1 node being drained"}},
			`policy "chat": replicas.max: 12 × 2 GPUs = 24 GPUs, but the cluster has 16 healthy nvidia/gpu on 4 nodes in datacenter dc1: at most 8 can run at once; not counted: 4 on 1 node being drained; allowed: at most 8, or more nodes`},
		{"enough, in pieces that are too small", 4, jobs.Room{PerReplica: 2, Device: "nvidia/gpu", GPUs: 9, Nodes: 3, Replicas: 3},
			`policy "chat": replicas.max: 4 × 2 GPUs = 8 GPUs, but the cluster has 9 healthy nvidia/gpu on 3 nodes: at most 3 can run at once, because a replica needs its 2 on one node; allowed: at most 3, or more nodes`},
		{"none at all", 1, jobs.Room{PerReplica: 1, Device: "gpu"},
			`policy "chat": replicas.max: 1 × 1 GPU = 1 GPU, but the cluster has 0 healthy GPUs: not one replica can start; allowed: a max that other nodes will have room for; pilotlight doctor lists what nodes have`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New("chat")
			p.Replicas.Max = c.max
			got := ""
			for _, e := range BeyondRoom(p, c.room) {
				got += e.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAClusterThatCannotBeAskedIsSaidAtMax(t *testing.T) {
	p := New("chat")
	p.Replicas.Max = 4
	want := `policy "chat": replicas.max: 4 could not be compared with the GPUs of the cluster (no answer); pilotlight doctor says more`
	if got := RoomUnknown(p, errors.New("no answer"))[0].Error(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestWarningsOfATextHaveTheirPlaces(t *testing.T) {
	text := "policy \"chat\" {\n  job = \"chat\"\n  route {\n    models = [\"chat\"]\n  }\n  replicas {\n    max = 9\n  }\n}\n"
	list, err := Parse("", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := LocateIn(text, BeyondRoom(list[0], jobs.Room{PerReplica: 1, Device: "nvidia/gpu", GPUs: 4, Nodes: 1, Replicas: 4}))
	if len(got) != 1 || got[0].Line != 7 || got[0].Column != 11 {
		t.Errorf("got %+v, want line 7, column 11", got)
	}
}
