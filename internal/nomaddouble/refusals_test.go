package nomaddouble

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// provocations bring about every refusal of the recordings: a request, or a
// function for what needs more than one.
var provocations = map[string]any{
	"scale: unknown job":                 `PUT /v1/job/nope/scale {"Count":1,"Target":{"Group":"server"}}`,
	"scale: unknown group":               scaleCall + `{"Count":1,"Target":{"Group":"x"}}`,
	"scale: no Target.Group":             scaleCall + `{"Count":1}`,
	"scale: above scaling.max":           scaleCall + `{"Count":9,"Target":{"Group":"server"}}`,
	"scale: negative":                    scaleCall + `{"Count":-1,"Target":{"Group":"server"}}`,
	"scale: Count with Error=true":       scaleCall + `{"Count":1,"Error":true,"Target":{"Group":"server"}}`,
	"scale: Target.Job is another job":   scaleCall + `{"Count":1,"Target":{"Group":"server","Job":"x"}}`,
	"scale: Target.Namespace is another": scaleCall + `{"Count":1,"Target":{"Group":"server","Namespace":"x"}}`,
	"scale: bad JSON":                    scaleCall + `{n`,
	"scale: below scaling.min": func(c *cluster) string {
		c.register(strings.NewReplacer("count = 0", "count = 1", "min = 0", "min = 1").Replace(source))
		return scaleCall + `{"Count":0,"Target":{"Group":"server"}}`
	},
	"scale: deployment active": func(c *cluster) string {
		c.register(strings.NewReplacer("count = 0", "count = 1", "max_parallel = 0", "max_parallel = 1").Replace(source))
		time.Sleep(100 * time.Millisecond)
		return scaleCall + `{"Count":2,"Target":{"Group":"server"}}`
	},
	"scale: system job to 2": func(c *cluster) string {
		c.ask("PUT", "/v1/jobs", `{"Job":{"ID":"sys","Type":"system","TaskGroups":[{"Name":"server","Count":1,"Tasks":[{"Name":"t","Driver":"pretended"}]}]}}`, nil)
		return `PUT /v1/job/sys/scale {"Count":2,"Target":{"Group":"server"}}`
	},
	"DELETE /v1/job/x/scale":          "DELETE /v1/job/x/scale",
	"GET unknown job, GET its /scale": "GET /v1/job/nope",
	"GET unknown allocation":          "GET /v1/allocation/" + nobody,
	"GET allocation, id not a UUID":   "GET /v1/allocation/abc",
	"GET unknown evaluation":          "GET /v1/evaluation/" + nobody,
	"GET unknown node":                "GET /v1/node/" + nobody,
	"stop unknown allocation":         "PUT /v1/allocation/" + nobody + "/stop",
	"stats of unknown allocation":     "GET /v1/client/allocation/" + nobody + "/stats",
	"client stats, unknown node":      "GET /v1/client/stats?node_id=" + nobody,
	"client stats, node down": func(c *cluster) string {
		if err := c.LoseNode("n"); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(time.Minute)
		return "GET /v1/client/stats?node_id=" + c.nodes[0].ID
	},
	"register: invalid job (a 500!)": func(c *cluster) string {
		raw, err := json.Marshal(map[string]any{"Job": c.parse(strings.Replace(source, "min = 0", "min = 1", 1))})
		if err != nil {
			c.t.Fatal(err)
		}
		return "PUT /v1/jobs " + string(raw)
	},
	"register EnforceIndex=true JobModifyIndex=0, job exists": `PUT /v1/jobs {"EnforceIndex":true,"Job":{"ID":"translate"}}`,
	"bad wait":   "GET /v1/allocations?index=1&wait=5",
	"bad index":  "GET /v1/allocations?index=x",
	"bad filter": `GET /v1/nodes?filter=Bogus+==+"x"`,
	"no leader (after 5.1 to 5.2 s)": func(c *cluster) string {
		c.LoseLeader(true)
		return "GET /v1/jobs"
	},
	"missing, wrong or insufficient token": func(c *cluster) string {
		c.SetToken("right", Rights{Management: true})
		return "GET /v1/jobs"
	},
	"too many connections from one address; Content-Type text/plain, Connection: close": func(c *cluster) string {
		c.Limit(1)
		c.Hang(1, "GET", "/v1/nodes")
		go c.call("GET", "/v1/nodes", "")
		time.Sleep(time.Millisecond)
		return "GET /v1/jobs"
	},
	"unknown /v1 path":        "GET /v1/nothing",
	"unknown region":          "GET /v1/jobs?region=nowhere",
	"event stream: bad topic": "GET /v1/event/stream?topic=Job:a:b",
	"event stream: bad index": "GET /v1/event/stream?topic=Job:*&index=x",
}

const (
	scaleCall = "PUT /v1/job/translate/scale "
	nobody    = "00000000-0000-0000-0000-000000000000"
)

// unprovoked refusals are those that no test can bring about here.
var unprovoked = map[string]string{
	"scale: JobModifyIndex stale (a 500!)": "the text has an index: see below",
	"parse: bad HCL":                       "job files are read by jobs/spec, whose words are its own",
	"client agent whose servers are gone (at once; the address is replaced here)": "Fail answers any text",
}

func TestRefusalsAreThoseOfTheRecordings(t *testing.T) {
	var recorded []struct {
		What   string
		Status int
		Type   string `json:"content_type"`
		Body   string
	}
	if err := json.Unmarshal(recordedText(t, "errors.json"), &recorded); err != nil {
		t.Fatal(err)
	}
	for _, r := range recorded {
		t.Run(r.What, func(t *testing.T) {
			provoke, ok := provocations[r.What]
			if !ok {
				if why := unprovoked[r.What]; why == "" {
					t.Fatal("nothing provokes this refusal")
				}
				return
			}
			inBubble(t, Config{Nodes: []Node{{Name: "n", Devices: []Device{GPUs(2)}}}}, func(t *testing.T, c *cluster) {
				c.t = t
				call, ok := provoke.(string)
				if !ok {
					call = provoke.(func(*cluster) string)(c)
				}
				parts := append(strings.SplitN(call, " ", 3), "")
				w := c.call(parts[0], parts[1], parts[2])
				if w.Code != r.Status || w.Body.String() != r.Body || w.Header().Get("Content-Type") != r.Type {
					t.Errorf("got %d %s %q, want %d %s %q", w.Code, w.Header().Get("Content-Type"), w.Body, r.Status, r.Type, r.Body)
				}
				c.Limit(0)
			})
		})
	}
}

func TestAStaleIndexIsRefusedWithBothIndexes(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *cluster) {
		w := c.call("PUT", "/v1/job/translate/scale", `{"Count":1,"JobModifyIndex":5,"Target":{"Group":"server"}}`)
		if w.Code != 500 || !strings.HasPrefix(w.Body.String(), "Enforcing job modify index 5: job exists with conflicting job modify index: ") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}
