package nomad

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/pilotlight/pilotlight/jobs"
)

const (
	benchServices    = 200
	benchAllocations = 500
)

// watched returns a Fleet that watches 500 allocations of 200 services, as lists
// and events have told it, and the line of the stream that updates one of them.
func watched(b *testing.B) (f *Fleet, refs []jobs.Ref, update func(i int) []byte) {
	b.Helper()
	line := recordedUpdate(b)
	f, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	var keys []jobKey
	for i := range benchServices {
		ref := jobs.Ref{Namespace: "default", Job: fmt.Sprintf("service-%03d", i), Group: "server"}
		key := f.track(ref)
		refs, keys = append(refs, ref), append(keys, key)
		f.pic.applyJob(key, jobInfo{index: 1, scalable: true, groups: map[string]groupInfo{"server": {count: 3, mainTask: "engine"}}})
	}
	f.pic.applyList(keys, nil, 1, true)
	index := 1000
	update = func(i int) []byte {
		index++
		n := i % benchAllocations
		return []byte(strings.NewReplacer("SERVICE", refs[n%benchServices].Job, "ALLOCATION", fmt.Sprintf("a%07d-dfc-842a-0c93-7ee57ab166cc", n),
			"INSTANCE", fmt.Sprint(n/benchServices), "MODIFIED", fmt.Sprint(index)).Replace(line))
	}
	for i := range benchAllocations {
		f.decodeAndTake(b, update(i))
	}
	f.pic.takeDirty()
	return f, refs, update
}

// recordedUpdate is the recorded line by which a client reports a running task.
func recordedUpdate(b *testing.B) string {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "events-node-drain.ndjson"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, `"Type":"AllocationUpdated"`) {
			return strings.NewReplacer(`"translate.server[1]"`, `"SERVICE.server[INSTANCE]"`, `"translate"`, `"SERVICE"`,
				"c3d8a6f0-4dfc-842a-0c93-7ee57ab166cc", "ALLOCATION", `"ModifyIndex":411`, `"ModifyIndex":MODIFIED`).Replace(line)
		}
	}
	b.Fatal("no client's update in the recording")
	return ""
}

func (f *Fleet) decodeAndTake(b *testing.B, line []byte) {
	var l eventLine
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&l); err != nil {
		b.Fatal(err)
	}
	if err := f.takeLine(l); err != nil {
		b.Fatal(err)
	}
}

// One event of one of 500 allocations of 200 services: read, applied, and the
// group's new picture observed as the scaler does.
func BenchmarkEvent(b *testing.B) {
	f, _, update := watched(b)
	lines := make([][]byte, benchAllocations)
	for i := range lines {
		lines[i] = update(i)
	}
	b.SetBytes(int64(len(lines[0])))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%benchAllocations == 0 && i > 0 {
			b.StopTimer()
			for i := range lines {
				lines[i] = update(i)
			}
			b.StartTimer()
		}
		f.decodeAndTake(b, lines[i%benchAllocations])
		dirty := f.pic.takeDirty()
		if len(dirty) != 1 {
			b.Fatalf("%d services were told of one event", len(dirty))
		}
		if _, _, err := f.pic.observe(f.track(dirty[0]), dirty[0], time.Unix(0, 0)); err != nil {
			b.Fatal(err)
		}
	}
}

// One event of an allocation that is nobody's here: the price of other people's
// jobs.
func BenchmarkEventOfOthers(b *testing.B) {
	f, _, update := watched(b)
	line := bytes.ReplaceAll(update(0), []byte("service-000"), []byte("somebodys"))
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		f.decodeAndTake(b, line)
	}
}

// A list of all 500 allocations in which nothing is new, as every 30 s.
func BenchmarkListWithoutNews(b *testing.B) {
	f, refs, update := watched(b)
	var stubs []*api.AllocationListStub
	for i := range benchAllocations {
		var l eventLine
		if err := json.Unmarshal(update(i), &l); err != nil {
			b.Fatal(err)
		}
		if err := f.takeLine(l); err != nil {
			b.Fatal(err)
		}
		var p struct{ Allocation *api.AllocationListStub }
		if err := json.Unmarshal(l.Events[0].Payload, &p); err != nil {
			b.Fatal(err)
		}
		stubs = append(stubs, p.Allocation)
	}
	var keys []jobKey
	for _, ref := range refs {
		keys = append(keys, f.track(ref))
	}
	f.pic.takeDirty()
	for b.Loop() {
		f.pic.applyList(keys, stubs, 1000, true)
		if dirty := f.pic.takeDirty(); len(dirty) != 0 {
			b.Fatalf("%d services were told of nothing", len(dirty))
		}
	}
}

// What one allocation costs in memory while it is watched.
func BenchmarkMemoryPerAllocation(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for range min(b.N, 3) { // one figure, whatever the benchmark's time
		before := heap()
		f, refs, _ := watched(b)
		after := heap()
		b.ReportMetric(float64(after-before)/benchAllocations, "B/allocation")
		runtime.KeepAlive(f)
		runtime.KeepAlive(refs)
	}
}
