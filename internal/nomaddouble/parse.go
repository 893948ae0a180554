package nomaddouble

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/jobs/spec"
)

func (s *Server) parseJob(w http.ResponseWriter, r *http.Request) {
	var req struct{ JobHCL string }
	if err := json.Unmarshal(body(r), &req); err != nil {
		refuse(w, 400, "%v", err)
		return
	}
	if req.JobHCL == "" {
		refuse(w, 400, "Job spec is empty")
		return
	}
	read, findings := spec.Parse("input.hcl", []byte(req.JobHCL))
	var wrong []string
	for _, f := range findings {
		if f.Severity == jobs.SeverityError {
			wrong = append(wrong, f.Message)
		}
	}
	if read == nil || len(wrong) > 0 {
		refuse(w, 400, "Failed to parse job: input.hcl: %s", strings.Join(wrong, "; "))
		return
	}
	d := parsed(read)
	readLiterals(req.JobHCL).complete(d)
	answerPlain(w, d)
}

// parsed writes a job spec as Nomad's parser does, as far as jobs.Spec goes.
func parsed(read *jobs.Spec) document {
	groups := []document{}
	for i := range read.Groups {
		groups = append(groups, parsedGroup(&read.Groups[i]))
	}
	return document{"ID": read.ID, "Name": read.ID, "Namespace": orDefault(read.Namespace, "default"), "Type": orDefault(read.Type, "service"),
		"Region": "global", "Priority": 50, "Datacenters": []string{"*"}, "NodePool": "", "TaskGroups": groups, "Stop": false, "Status": "",
		"Periodic": nil, "ParameterizedJob": nil, "Meta": nil, "Version": 0, "CreateIndex": 0, "ModifyIndex": 0, "JobModifyIndex": 0}
}

func parsedGroup(g *jobs.Group) document {
	d := document{"Name": g.Name, "Count": max(g.Count, 0), "ShutdownDelay": g.ShutdownDelay, "Scaling": nil, "Services": nil,
		"RestartPolicy": document{"Attempts": g.Restart.Attempts, "Interval": g.Restart.Interval, "Delay": g.Restart.Delay, "Mode": g.Restart.Mode}}
	if g.Count < 0 {
		d["Count"] = 1
	}
	var dynamic, reserved []document
	for _, p := range g.Ports {
		port := document{"Label": p.Label, "Value": p.Static, "To": 0, "HostNetwork": ""}
		if p.Static > 0 {
			reserved = append(reserved, port)
		} else {
			dynamic = append(dynamic, port)
		}
	}
	if len(g.Ports) > 0 {
		d["Networks"] = []document{{"DynamicPorts": dynamic, "ReservedPorts": reserved, "Mode": "", "IP": "", "CIDR": "", "Device": ""}}
	}
	parallel := 1
	if g.UpdateMaxParallel != nil {
		parallel = *g.UpdateMaxParallel
	}
	d["Update"] = document{"MaxParallel": parallel, "HealthCheck": "checks", "MinHealthyTime": 10 * time.Second,
		"HealthyDeadline": 5 * time.Minute, "ProgressDeadline": 10 * time.Minute, "Stagger": 30 * time.Second}
	if g.Scaling != nil {
		d["Scaling"] = document{"Min": g.Scaling.Min, "Max": g.Scaling.Max, "Enabled": g.Scaling.Enabled, "Type": "horizontal"}
	}
	reschedule := document{"Attempts": 0, "Unlimited": true, "Interval": 0, "Delay": 30 * time.Second, "DelayFunction": "exponential", "MaxDelay": time.Hour}
	if r := g.Reschedule; r != nil {
		reschedule["Attempts"], reschedule["Unlimited"] = r.Attempts, r.Unlimited
		reschedule["Delay"], reschedule["DelayFunction"] = r.Delay, r.DelayFunction
	}
	d["ReschedulePolicy"] = reschedule
	tasks := []document{}
	for _, t := range g.Tasks {
		td := document{"Name": t.Name, "Driver": t.Driver, "User": t.User, "Leader": t.Leader, "Lifecycle": nil, "Env": t.Env,
			"Config": commandOf(t), "KillTimeout": t.KillTimeout, "KillSignal": t.KillSignal,
			"Resources": document{"CPU": 100, "MemoryMB": 300, "Devices": nil}}
		if t.Lifecycle != "" {
			td["Lifecycle"] = document{"Hook": t.Lifecycle, "Sidecar": false}
		}
		if t.GPUs > 0 {
			td["Resources"] = document{"CPU": 100, "MemoryMB": 300, "Devices": []document{{"Name": "nvidia/gpu", "Count": t.GPUs}}}
		}
		tasks = append(tasks, td)
	}
	d["Tasks"] = tasks
	return d
}

// commandOf is the part of a task's config that jobs/spec evaluates.
func commandOf(t jobs.Task) document {
	config := document{}
	if t.Command != "" {
		config["command"] = t.Command
	}
	if t.Args != nil {
		config["args"] = t.Args
	}
	return config
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
