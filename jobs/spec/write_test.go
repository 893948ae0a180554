package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

var someFindings = []jobs.Finding{
	{
		File: "jobs/a b.nomad.hcl", Line: 7, Column: 3, Severity: jobs.SeverityError, Rule: RuleNoPort,
		Path: "group.server.network.port.http", Message: `no port "http" <here>`, Allowed: "a port",
	},
	{File: "/srv/c.hcl", Line: 1, Column: 1, Severity: jobs.SeverityWarning, Rule: RuleCount, Path: "group.server.count", Message: "count = 2"},
	{File: "jobs/a b.nomad.hcl", Severity: jobs.SeverityError, Rule: "some-new-rule", Message: "no place known"},
}

type writer = func(io.Writer, []jobs.Finding) error

func written(t *testing.T, write writer, findings []jobs.Finding) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, findings); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTextHasALineForEachFindingAndASummary(t *testing.T) {
	const want = `jobs/a b.nomad.hcl:7:3: error: no port "http" <here> [no-port] at group.server.network.port.http
    allowed: a port
/srv/c.hcl:1:1: warning: count = 2 [count] at group.server.count
jobs/a b.nomad.hcl:0:0: error: no place known [some-new-rule]
2 errors, 1 warning
`
	if diff := cmp.Diff(want, written(t, WriteText, someFindings)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestTextOfNothingIsASummary(t *testing.T) {
	if got := written(t, WriteText, nil); got != "0 errors, 0 warnings\n" {
		t.Errorf("got %q", got)
	}
}

func TestJSONOfNothingHasAnEmptyList(t *testing.T) {
	const want = "{\n  \"findings\": [],\n  \"errors\": 0,\n  \"warnings\": 0\n}\n"
	if got := written(t, WriteJSON, nil); got != want {
		t.Errorf("got %q", got)
	}
}

func TestJSONHasEveryFieldOfAFinding(t *testing.T) {
	var got struct {
		Findings         []map[string]any
		Errors, Warnings int
	}
	if err := json.Unmarshal([]byte(written(t, WriteJSON, someFindings)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Errors != 2 || got.Warnings != 1 || len(got.Findings) != 3 {
		t.Errorf("got %d findings, %d errors, %d warnings", len(got.Findings), got.Errors, got.Warnings)
	}
	want := map[string]any{
		"file": "jobs/a b.nomad.hcl", "line": 7.0, "column": 3.0, "severity": "error", "rule": "no-port",
		"path": "group.server.network.port.http", "message": `no port "http" <here>`, "allowed": "a port",
	}
	if diff := cmp.Diff(want, got.Findings[0]); diff != "" {
		t.Errorf("first finding (-want +got):\n%s", diff)
	}
}

func TestSARIF(t *testing.T) {
	const want = `{
  "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
  "version": "2.1.0",
  "runs": [
    {
      "tool": {
        "driver": {
          "name": "pilotlight",
          "informationUri": "https://github.com/pilotlight/pilotlight",
          "rules": [
            {
              "id": "count",
              "shortDescription": {
                "text": "The count is left to Pilotlight."
              }
            },
            {
              "id": "no-port",
              "shortDescription": {
                "text": "The group has a port labelled \"http\"."
              }
            },
            {
              "id": "some-new-rule",
              "shortDescription": {
                "text": "some-new-rule"
              }
            }
          ]
        }
      },
      "columnKind": "unicodeCodePoints",
      "results": [
        {
          "ruleId": "no-port",
          "ruleIndex": 1,
          "level": "error",
          "message": {
            "text": "no port \"http\" <here> (allowed: a port)"
          },
          "locations": [
            {
              "physicalLocation": {
                "artifactLocation": {
                  "uri": "jobs/a%20b.nomad.hcl"
                },
                "region": {
                  "startLine": 7,
                  "startColumn": 3
                }
              },
              "logicalLocations": [
                {
                  "fullyQualifiedName": "group.server.network.port.http"
                }
              ]
            }
          ]
        },
        {
          "ruleId": "count",
          "ruleIndex": 0,
          "level": "warning",
          "message": {
            "text": "count = 2"
          },
          "locations": [
            {
              "physicalLocation": {
                "artifactLocation": {
                  "uri": "file:///srv/c.hcl"
                },
                "region": {
                  "startLine": 1,
                  "startColumn": 1
                }
              },
              "logicalLocations": [
                {
                  "fullyQualifiedName": "group.server.count"
                }
              ]
            }
          ]
        },
        {
          "ruleId": "some-new-rule",
          "ruleIndex": 2,
          "level": "error",
          "message": {
            "text": "no place known"
          },
          "locations": [
            {
              "physicalLocation": {
                "artifactLocation": {
                  "uri": "jobs/a%20b.nomad.hcl"
                },
                "region": {
                  "startLine": 1,
                  "startColumn": 1
                }
              }
            }
          ]
        }
      ]
    }
  ]
}
`
	if diff := cmp.Diff(want, written(t, WriteSARIF, someFindings)); diff != "" {
		t.Errorf("SARIF (-want +got):\n%s", diff)
	}
}

func TestSARIFOfNothingHasARunWithoutResults(t *testing.T) {
	var got struct {
		Runs []struct{ Results []any }
	}
	if err := json.Unmarshal([]byte(written(t, WriteSARIF, nil)), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Runs) != 1 || got.Runs[0].Results == nil || len(got.Runs[0].Results) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestSARIFOfAPathWithAColonIsARelativeReference(t *testing.T) {
	if got := fileURI("a:b.hcl"); got != "./a:b.hcl" {
		t.Errorf("got %q", got)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("disk full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestAFailedWriteIsReported(t *testing.T) {
	for name, write := range map[string]writer{"text": WriteText, "JSON": WriteJSON, "SARIF": WriteSARIF} {
		if err := write(brokenWriter{}, someFindings); !errors.Is(err, errBroken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
