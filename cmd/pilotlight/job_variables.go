package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/pilotlight/pilotlight/jobs/spec"
)

// jobVariables are values of job specs' variables, as Nomad's own commands take
// them.
type jobVariables struct {
	Var     []string `sep:"none" help:"Value of a variable of the job specs; several are allowed, and win over --var-file." placeholder:"NAME=VALUE"`
	VarFile []string `sep:"none" help:"File of values of variables, NAME = VALUE in HCL; several are allowed." placeholder:"FILE"`
}

// read returns the values. What is wrong with them is wrong use.
func (j jobVariables) read() (*spec.Variables, error) {
	given := &spec.Variables{}
	for _, path := range j.VarFile {
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, usageError{fmt.Errorf("--var-file: %w", err)}
		}
		for _, f := range given.ReadFile(path, src) {
			return nil, usageError{fmt.Errorf("--var-file %s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)}
		}
	}
	for _, text := range j.Var {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("--var %q: want NAME=VALUE", text)}
		}
		given.Set(name, value)
	}
	return given, nil
}
