package spec

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pilotlight/pilotlight/jobs"
)

// Refine completes findings on s, whoever made them: it sets line and column
// to where the finding's path stands in s.Source (or the innermost block of the
// path that does), sorts them, and leaves out those that judge a value which
// Parse could not (it has said so itself). Findings on other files, and all
// findings on a spec without Source, come back as they are.
func Refine(s *jobs.Spec, findings []jobs.Finding) []jobs.Finding {
	if s == nil {
		return findings
	}
	return surveyOf(s).refine(findings)
}

// survey is where things stand in the source of a spec.
type survey struct {
	file     string
	places   map[string]hcl.Pos // path → first block or attribute there
	unjudged map[string]bool    // paths of not-judged findings
}

func surveyOf(s *jobs.Spec) survey {
	v := survey{file: s.File, places: map[string]hcl.Pos{}, unjudged: map[string]bool{}}
	if s.Source == "" {
		return v
	}
	e := newEvaluator(s.File, []byte(s.Source))
	e.given.ReadFile("", []byte(s.Variables)) // what wrote it was right
	job := e.parseJob()
	if job == nil {
		return v
	}
	e.readJob(job)
	for _, f := range e.findings {
		if f.Rule == RuleNotJudged {
			v.unjudged[f.Path] = true
		}
	}
	v.places[""] = job.DefRange().Start
	v.walk(job.Body, "")
	return v
}

func (v survey) walk(body *hclsyntax.Body, path string) {
	prefix := path
	if prefix != "" {
		prefix += "."
	}
	for name, attr := range body.Attributes {
		v.add(prefix+name, attr.SrcRange.Start)
	}
	for _, block := range body.Blocks {
		at := prefix + strings.Join(append([]string{block.Type}, block.Labels...), ".")
		if path == "" && block.Type == "task" && len(block.Labels) > 0 {
			at = "group." + block.Labels[0] + "." + at // see readJob
		}
		v.add(at, block.DefRange().Start)
		v.walk(block.Body, at)
	}
}

func (v survey) add(path string, at hcl.Pos) {
	if _, known := v.places[path]; !known {
		v.places[path] = at
	}
}

// has reports whether the source says anything at path.
func (v survey) has(path string) bool {
	_, known := v.places[path]
	return known
}

// judged reports whether what stands at path, and whatever it is part of, was
// evaluated.
func (v survey) judged(path string) bool {
	for ; path != ""; path = parent(path) {
		if v.unjudged[path] {
			return false
		}
	}
	return true
}

func (v survey) refine(findings []jobs.Finding) []jobs.Finding {
	var kept []jobs.Finding
	for _, f := range findings {
		if f.File != v.file || f.Rule == RuleNotJudged || f.Rule == RuleBadValue || f.Rule == RuleSyntax {
			kept = append(kept, f)
			continue
		}
		if !v.judged(f.Path) {
			continue
		}
		if at, ok := v.nearest(f.Path); ok {
			f.Line, f.Column = at.Line, at.Column
		}
		kept = append(kept, f)
	}
	return sorted(kept)
}

func (v survey) nearest(path string) (hcl.Pos, bool) {
	for {
		if at, ok := v.places[path]; ok {
			return at, true
		}
		if path == "" {
			return hcl.Pos{}, false
		}
		path = parent(path)
	}
}

// parent drops the last name of a path. Labels may hold dots themselves; then
// some of the results name nothing, which no caller minds.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}
