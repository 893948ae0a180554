package nomaddouble

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told is one line of an event stream.
type told struct {
	Index  uint64
	Events []struct {
		Topic, Type string
		FilterKeys  []string
		Payload     map[string]any
	}
}

// listen reads the stream of all topics from an index on for a while.
func (c *cluster) listen(from uint64, topics string, lasts time.Duration) []told {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), lasts)
	defer cancel()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", fmt.Sprintf("/v1/event/stream?%s&index=%d", topics, from), nil))
	return linesOf(c.t, w.Body.Bytes())
}

func linesOf(t *testing.T, text []byte) []told {
	t.Helper()
	var all []told
	for l := range bytes.Lines(text) {
		var line told
		if err := json.Unmarshal(l, &line); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if line.Index > 0 {
			all = append(all, line)
		}
	}
	return all
}

// story is what a stream told: each line with its distance to the first, its
// events with what they said.
func story(lines []told) []string {
	var all []string
	for _, l := range lines {
		text := fmt.Sprintf("+%d", l.Index-lines[0].Index)
		for _, e := range l.Events {
			text += " " + e.Topic + "/" + e.Type
			for _, k := range []string{"Status", "ClientStatus", "DesiredStatus", "TriggeredBy", "SchedulingEligibility", "Drain"} {
				for _, thing := range e.Payload {
					if v, ok := asMap(thing)[k]; ok {
						text += fmt.Sprintf(" %v", v)
					}
				}
			}
			if strings.HasPrefix(e.Topic, "Alloc") {
				text += fmt.Sprintf(" %d keys", len(e.FilterKeys))
			}
		}
		all = append(all, text)
	}
	return all
}

const streamTopics = "topic=Job:*&topic=Evaluation:*&topic=Allocation:*&topic=Deployment:*"

// compareStory holds lines of the double against recorded ones: their order and
// distances, and the shape of the payloads of each kind of event.
func compareStory(t *testing.T, file string, double []told, ignore ...string) {
	t.Helper()
	recorded := linesOf(t, recordedText(t, file))
	if diff := cmp.Diff(story(recorded), story(double)); diff != "" {
		t.Errorf("%s (-recorded +double):\n%s", file, diff)
		return
	}
	for i, l := range recorded {
		for k, e := range l.Events {
			compareShape(t, fmt.Sprintf("%s, line %d, %s/%s", file, i+1, e.Topic, e.Type), any(e.Payload), any(double[i].Events[k].Payload), ignore...)
		}
	}
}

// thin are the fields that the recordings of some events leave out.
var thin = []string{".Allocation.TaskStates.*.Events", ".Node.", ".Allocation.Name = ", ".Allocation.DesiredTransition"}

func TestAWakeAndAnEndAreToldAsRecorded(t *testing.T) {
	inBubble(t, Config{Nodes: []Node{{Name: "n"}}}, func(t *testing.T, c *cluster) {
		c.ask("DELETE", "/v1/job/translate?purge=true", "", nil)
		c.register(edited(`"25s"`, `"5s"`))
		time.Sleep(time.Second)
		from := c.last()
		c.to(1)
		time.Sleep(time.Second)
		woken := c.last()
		c.to(0)
		time.Sleep(time.Second)
		lines := c.listen(from+1, streamTopics, time.Second)
		var wake, end []told
		for _, l := range lines {
			if l.Index <= woken {
				wake = append(wake, l)
			} else {
				end = append(end, l)
			}
		}
		compareStory(t, "events-wake.ndjson", wake)
		compareStory(t, "events-to-zero.ndjson", end, thin...)
	})
}

// The recording has a job whose allocations became healthy during the drain,
// and the topics of allocations, evaluations and nodes; client updates are left
// out of it.
func TestANodeDrainIsToldAsRecorded(t *testing.T) {
	cfg := Config{Nodes: []Node{{Name: "cpu-node-1", Class: "c2"}, {Name: "gpu-node-1", Class: "c1"}}}
	inBubble(t, cfg, func(t *testing.T, c *cluster) {
		c.ask("DELETE", "/v1/job/translate?purge=true", "", nil)
		c.register(edited("update {\n      max_parallel = 0\n    }", "update {\n      max_parallel = 0\n    }"))
		time.Sleep(time.Second)
		c.to(2)
		time.Sleep(time.Minute)
		from := c.last()
		if err := c.DrainNode("cpu-node-1", time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		keep := func(lines []told) (kept []told) {
			for _, l := range lines {
				if l.Events[0].Type != "AllocationUpdated" {
					l.Index = 0 // what else was written meanwhile is another story
					kept = append(kept, l)
				}
			}
			return kept
		}
		got := keep(c.listen(from+1, "topic=Evaluation:*&topic=Allocation:*&topic=Node:*", time.Second))
		recorded := keep(linesOf(t, recordedText(t, "events-node-drain.ndjson")))
		if diff := cmp.Diff(story(recorded), story(got)); diff != "" {
			t.Errorf("(-recorded +double):\n%s", diff)
			return
		}
		for i, l := range recorded {
			for k, e := range l.Events {
				compareShape(t, fmt.Sprintf("line %d, %s/%s", i+1, e.Topic, e.Type), any(e.Payload), any(got[i].Events[k].Payload),
					append(thin[:1:1], ".Allocation.Name = ", ".Node.Name = ", ".Allocation.NodeName", "+.Node.", ".Node.Address", ".Node.Attributes", ".Node.HTTPAddr",
						".Node.NodeResources", ".Node.ReservedResources", ".Node.Events[].Message", ".Allocation.Metrics.Class", ".Node.LastDrain.StartedAt")...)
			}
		}
	})
}
