package nomaddouble

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// invalid returns what registration refuses, each as a server words it.
func (j *job) invalid() []string {
	var all []string
	for _, g := range j.Groups {
		var wrong []string
		if g.Scaling != nil {
			var what string
			switch {
			case g.Count < g.Scaling.Min:
				what = "task group count must not be less than minimum count in scaling policy"
			case g.Scaling.Max > 0 && g.Count > g.Scaling.Max:
				what = "task group count must not be greater than maximum count in scaling policy"
			}
			if what != "" {
				wrong = append(wrong, "Task group scaling policy validation failed: "+errorsOccurred([]string{"Scaling policy invalid: " + what}))
			}
		}
		if g.Count < 0 {
			wrong = append(wrong, "Task group count can't be negative")
		}
		for _, t := range g.Tasks {
			if t.Driver == "" {
				wrong = append(wrong, fmt.Sprintf("Task %s validation failed: %s", t.Name, errorsOccurred([]string{"Missing task driver"})))
			}
		}
		if len(wrong) > 0 {
			all = append(all, fmt.Sprintf("Task group %s validation failed: %s", g.Name, errorsOccurred(wrong)))
		}
	}
	return all
}

// errorsOccurred lists errors as Nomad prints several of them.
func errorsOccurred(all []string) string {
	count := "1 error occurred"
	if len(all) > 1 {
		count = fmt.Sprintf("%d errors occurred", len(all))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", count)
	for _, text := range all {
		fmt.Fprintf(&b, "\t* %s\n", text)
	}
	return b.String() + "\n"
}

// joined is the text of a refusal, "" for none.
func joined(problems []string) string {
	if len(problems) == 0 {
		return ""
	}
	return errorsOccurred(problems)
}

// validateJob answers 200 whatever the job is like.
func (s *Server) validateJob(w http.ResponseWriter, r *http.Request) {
	var req struct{ Job json.RawMessage }
	if !decode(w, r, &req) {
		return
	}
	j, err := readJob(req.Job)
	if err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	problems := j.invalid()
	answer(w, 0, document{"DriverConfigValidated": true, "Error": joined(problems), "ValidationErrors": problems, "Warnings": ""})
}
