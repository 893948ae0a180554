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
	if !decode(w, r, &req) {
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
	whole, err := asParser(d)
	if err != nil {
		refuse(w, 500, "%v", err)
		return
	}
	answerPlain(w, whole)
}

// What the parser writes where a job file says nothing; a server keeps another
// form (see canonical).
const (
	parsedJobDefaults = `{
		"Affinities": null, "AllAtOnce": false, "Constraints": null, "ConsulNamespace": "", "CreateIndex": 0, "Datacenters": ["*"],
		"DispatchIdempotencyToken": null, "Dispatched": false, "ID": "", "JobModifyIndex": 0, "Meta": null, "Migrate": null,
		"ModifyIndex": 0, "Multiregion": null, "Name": "", "Namespace": "default", "NodePool": "", "NomadTokenID": "",
		"ParameterizedJob": null, "ParentID": "", "Payload": null, "Periodic": null, "Priority": 50, "Region": "global",
		"Reschedule": null, "Spreads": null, "Stable": false, "Status": "", "StatusDescription": "", "Stop": false,
		"SubmitTime": null, "TaskGroups": [], "Type": "service", "UI": null, "VaultNamespace": "", "Version": 0, "VersionTag": null,
		"Update": {"AutoPromote": false, "AutoRevert": false, "Canary": 0, "HealthCheck": "checks", "HealthyDeadline": 300000000000,
			"MaxParallel": 1, "MinHealthyTime": 10000000000, "ProgressDeadline": 600000000000, "Stagger": 30000000000}
	}`
	parsedScaling = `{
		"CreateIndex": 0, "Enabled": true, "ID": "", "Max": 0, "Min": 0, "ModifyIndex": 0, "Namespace": "", "Policy": null,
		"Target": null, "Type": "horizontal"
	}`
	parsedNetwork = `{
		"CIDR": "", "CNI": null, "DNS": null, "Device": "", "DynamicPorts": null, "Hostname": "", "IP": "", "MBits": null,
		"Mode": "", "ReservedPorts": null
	}`
	parsedPort = `{"HostNetwork": "", "IgnoreCollision": false, "Label": "", "To": 0, "Value": 0}`
)

// asParser puts a parsed job into the form of Nomad's parser, every field there.
func asParser(d document) (map[string]any, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	if err := json.Unmarshal(raw, &plain); err != nil {
		return nil, err
	}
	j := filled(template(parsedJobDefaults), plain)
	groups := []any{}
	for _, raw := range asList(plain["TaskGroups"]) {
		g := filled(template(groupDefaults), asMap(raw))
		if asMap(raw)["PreventRescheduleOnLost"] == nil {
			g["PreventRescheduleOnLost"] = nil
		}
		if s := asMap(g["Scaling"]); s != nil {
			g["Scaling"] = filled(template(parsedScaling), s)
		}
		for i, n := range asList(g["Networks"]) {
			n := filled(template(parsedNetwork), asMap(n))
			for _, kind := range []string{"DynamicPorts", "ReservedPorts"} {
				for i, p := range asList(n[kind]) {
					asList(n[kind])[i] = filled(template(parsedPort), asMap(p))
				}
			}
			asList(g["Networks"])[i] = n
		}
		tasks := []any{}
		for _, raw := range asList(asMap(raw)["Tasks"]) {
			t := filled(template(taskDefaults), asMap(raw))
			delete(t, "CSIPluginConfig")
			t["Identity"] = nil
			if t["RestartPolicy"] == nil {
				t["RestartPolicy"] = g["RestartPolicy"]
			}
			asMap(t["LogConfig"])["Enabled"] = nil
			for _, k := range []string{"DiskMB", "IOPS", "MemoryMaxMB", "SecretsMB"} {
				if r := asMap(t["Resources"]); empty(r[k]) {
					r[k] = nil
				}
			}
			tasks = append(tasks, t)
		}
		g["Tasks"] = tasks
		groups = append(groups, g)
	}
	j["TaskGroups"] = groups
	return j, nil
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
	if g.ShutdownDelay == 0 {
		d["ShutdownDelay"] = nil
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
