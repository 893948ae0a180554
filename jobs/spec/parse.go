package spec

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pilotlight/pilotlight/jobs"
)

// Parse reads one Nomad job in HCL. filename is only for findings and for
// Spec.File. Findings are in the order of the file.
//
// The spec is nil if the file is not a job in HCL: then there is at least one
// error with rule "syntax". Otherwise the findings say what could not be judged
// offline (warnings, rule "not-judged") and which values Nomad would refuse
// (errors, rule "bad-value"); in both cases the spec holds Nomad's default.
func Parse(filename string, src []byte) (*jobs.Spec, []jobs.Finding) {
	return ParseWith(filename, src, &Variables{})
}

// ParseWith is Parse with values for variables of the file; it ignores values of
// variables that the file does not declare (see Variables.Unused).
func ParseWith(filename string, src []byte, given *Variables) (*jobs.Spec, []jobs.Finding) {
	e := newEvaluator(filename, src)
	e.given = given
	job := e.parseJob()
	if job == nil {
		return nil, sorted(e.findings)
	}
	spec := e.readJob(job)
	return spec, sorted(e.findings)
}

// parseJob returns the only job block of the file, with variables and locals
// evaluated; nil after a syntax finding.
func (e *evaluator) parseJob() *hclsyntax.Block {
	start := hcl.Pos{Line: 1, Column: 1}
	if problem, at := checkSource(e.file, e.src); problem != "" {
		e.syntax(at, problem, fmt.Sprintf("at most %d bytes, nested at most %d deep, expressions of at most %d tokens", maxSourceBytes, maxNesting, maxRun))
		return nil
	}
	file, diags := hclsyntax.ParseConfig(e.src, e.file, start)
	e.syntaxErrors(diags)
	if diags.HasErrors() {
		return nil
	}

	root := file.Body.(*hclsyntax.Body) // as documented for ParseConfig
	e.readVariables(root.Blocks)
	e.readLocals(root.Blocks)

	const allowed = `one job "name" { … } block`
	var job *hclsyntax.Block
	for _, block := range root.Blocks {
		if block.Type != "job" {
			continue
		}
		at := block.DefRange().Start
		if len(block.Labels) != 1 || block.Labels[0] == "" {
			e.syntax(at, "the job block needs a name", allowed)
			return nil
		}
		if job != nil {
			e.syntax(at, "a second job block", allowed)
			return nil
		}
		job = block
	}
	if job == nil {
		e.syntax(start, "no job block", allowed)
	}
	return job
}

func (e *evaluator) syntaxErrors(diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := hcl.Pos{Line: 1, Column: 1}
		if d.Subject != nil {
			at = d.Subject.Start
		}
		e.syntax(at, diagnosticText(d), "")
	}
}

func (e *evaluator) syntax(at hcl.Pos, message, allowed string) {
	e.report(at, jobs.SeverityError, RuleSyntax, "", message, allowed)
}
