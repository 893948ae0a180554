package spec

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/jobs"
)

// WriteSARIF writes findings as a SARIF 2.1.0 log with one run, which code
// hosts show beside the lines of a change.
func WriteSARIF(w io.Writer, findings []jobs.Finding) error {
	var rules []sarifRule
	index := map[string]int{}
	for _, f := range findings {
		index[f.Rule] = 0
	}
	for name := range index {
		rules = append(rules, newSARIFRule(name))
	}
	slices.SortFunc(rules, func(a, b sarifRule) int { return strings.Compare(a.ID, b.ID) })
	for i, r := range rules {
		index[r.ID] = i
	}

	run := sarifRun{
		Tool: sarifTool{Driver: sarifDriver{
			Name:           "pilotlight",
			InformationURI: "https://github.com/pilotlight/pilotlight",
			Rules:          append([]sarifRule{}, rules...),
		}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	for _, f := range findings {
		run.Results = append(run.Results, newSARIFResult(f, index[f.Rule]))
	}
	return writeIndented(w, sarifLog{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

func newSARIFRule(name string) sarifRule {
	return sarifRule{ID: name, ShortDescription: sarifText{Text: describe(name)}}
}

func newSARIFResult(f jobs.Finding, rule int) sarifResult {
	level, message := "error", f.Message
	if f.Severity != jobs.SeverityError {
		level = "warning"
	}
	if f.Allowed != "" {
		message += " (allowed: " + f.Allowed + ")"
	}
	location := sarifLocation{Physical: sarifPhysical{
		Artifact: sarifArtifact{URI: fileURI(f.File)},
		Region:   sarifRegion{StartLine: max(f.Line, 1), StartColumn: max(f.Column, 1)},
	}}
	if f.Path != "" {
		location.Logical = []sarifLogical{{FullyQualifiedName: f.Path}}
	}
	return sarifResult{
		RuleID: f.Rule, RuleIndex: rule, Level: level,
		Message: sarifText{Text: message}, Locations: []sarifLocation{location},
	}
}

// fileURI is a relative reference for a relative path, a file URI for an
// absolute one.
func fileURI(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
	}
	return u.String()
}

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool       sarifTool     `json:"tool"`
	ColumnKind string        `json:"columnKind"`
	Results    []sarifResult `json:"results"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID               string    `json:"id"`
	ShortDescription sarifText `json:"shortDescription"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	RuleIndex int             `json:"ruleIndex"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifLocation struct {
	Physical sarifPhysical  `json:"physicalLocation"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   sarifRegion   `json:"region"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
}
