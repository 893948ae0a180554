package nomaddouble

import "encoding/json"

// What a server keeps of a job, with the values that it fills in. A field that
// is not here is dropped, as a server drops it.
const (
	jobDefaults = `{
		"Affinities": null, "AllAtOnce": false, "Constraints": null, "ConsulNamespace": "", "CreateIndex": 0,
		"Datacenters": ["*"], "DispatchIdempotencyToken": "", "Dispatched": false, "ID": "", "JobModifyIndex": 0,
		"Meta": null, "ModifyIndex": 0, "Multiregion": null, "Name": "", "Namespace": "default", "NodePool": "default",
		"NomadTokenID": "", "ParameterizedJob": null, "ParentID": "", "Payload": null, "Periodic": null, "Priority": 50,
		"Region": "global", "Spreads": null, "Stable": false, "Status": "", "StatusDescription": "", "Stop": false,
		"SubmitTime": 0, "TaskGroups": [], "Type": "service", "UI": null, "Update": null, "VaultNamespace": "",
		"Version": 0, "VersionTag": null
	}`
	jobUpdate = `{
		"AutoPromote": false, "AutoRevert": false, "Canary": 0, "HealthCheck": "", "HealthyDeadline": 0, "MaxParallel": 1,
		"MinHealthyTime": 0, "ProgressDeadline": 0, "Stagger": 30000000000
	}`
	groupDefaults = `{
		"Affinities": null, "Constraints": null, "Consul": null, "Count": 1, "Disconnect": null,
		"EphemeralDisk": {"Migrate": false, "SizeMB": 300, "Sticky": false}, "MaxClientDisconnect": null,
		"MaxRunDuration": null, "Meta": null,
		"Migrate": {"HealthCheck": "checks", "HealthyDeadline": 300000000000, "MaxParallel": 1, "MinHealthyTime": 10000000000},
		"Name": "", "Networks": null, "PreventRescheduleOnLost": false,
		"ReschedulePolicy": {"Attempts": 0, "Delay": 30000000000, "DelayFunction": "exponential", "Interval": 0,
			"MaxDelay": 3600000000000, "Unlimited": true},
		"RestartPolicy": {"Attempts": 2, "Delay": 15000000000, "Interval": 1800000000000, "Mode": "fail", "RenderTemplates": false},
		"Scaling": null, "Services": null, "ShutdownDelay": null, "Spreads": null, "StopAfterClientDisconnect": null,
		"Tasks": [],
		"Update": {"AutoPromote": false, "AutoRevert": false, "Canary": 0, "HealthCheck": "checks",
			"HealthyDeadline": 300000000000, "MaxParallel": 1, "MinHealthyTime": 10000000000,
			"ProgressDeadline": 600000000000, "Stagger": 30000000000},
		"Volumes": null
	}`
	groupScaling = `{
		"CreateIndex": 0, "Enabled": true, "ID": "", "Max": 0, "Min": 0, "ModifyIndex": 0, "Policy": null, "Target": null,
		"Type": "horizontal"
	}`
	taskDefaults = `{
		"Actions": null, "Affinities": null, "Artifacts": null, "CSIPluginConfig": null, "Config": null, "Constraints": null,
		"Consul": null, "DispatchPayload": null, "Driver": "", "Env": null, "Identities": null,
		"Identity": {"Audience": ["nomadproject.io"], "ChangeMode": "", "ChangeSignal": "", "Env": false, "ExtraClaims": null,
			"File": false, "Filepath": "", "Name": "default", "ServiceName": "", "TTL": 0},
		"KillSignal": "", "KillTimeout": 5000000000, "Kind": "", "Leader": false, "Lifecycle": null,
		"LogConfig": {"Disabled": false, "MaxFileSizeMB": 10, "MaxFiles": 10}, "Meta": null, "Name": "",
		"Resources": {"CPU": 100, "Cores": 0, "Devices": null, "DiskMB": 0, "IOPS": 0, "MemoryMB": 300, "MemoryMaxMB": 0,
			"NUMA": null, "Networks": null, "SecretsMB": 0},
		"RestartPolicy": null, "ScalingPolicies": null, "Schedule": null, "Secrets": null, "Services": null,
		"ShutdownDelay": 0, "Templates": null, "User": "", "Vault": null, "VolumeMounts": null
	}`
)

// template returns a fresh copy of one of the defaults.
func template(text string) map[string]any {
	var d map[string]any
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		panic("nomaddouble: the defaults are no JSON: " + err.Error())
	}
	return d
}

// filled returns what the defaults name of d, and they themselves where d says
// nothing.
func filled(defaults, d map[string]any) map[string]any {
	for k, def := range defaults {
		v, ok := d[k]
		if !ok || v == nil {
			continue
		}
		if sub, both := def.(map[string]any); both {
			if inner, isMap := v.(map[string]any); isMap {
				defaults[k] = filled(sub, inner)
				continue
			}
		}
		if text, isText := v.(string); isText && text == "" && def != nil {
			continue
		}
		if def == nil && emptyObject(v) {
			continue
		}
		defaults[k] = v
	}
	return defaults
}

// canonical returns a job document as a server keeps it.
func canonical(d document) (document, error) {
	j := filled(template(jobDefaults), d)
	j["Update"] = template(jobUpdate)
	if j["Name"] == "" {
		j["Name"] = j["ID"]
	}
	groups := []any{}
	for _, raw := range asList(d["TaskGroups"]) {
		g := filled(template(groupDefaults), asMap(raw))
		if s, ok := g["Scaling"].(map[string]any); ok {
			g["Scaling"] = filled(template(groupScaling), s)
			asMap(g["Scaling"])["Target"] = map[string]any{"Namespace": j["Namespace"], "Job": j["ID"], "Group": g["Name"]}
		}
		for _, n := range asList(g["Networks"]) {
			trimNetwork(asMap(n))
		}
		tasks := []any{}
		for _, raw := range asList(asMap(raw)["Tasks"]) {
			t := filled(template(taskDefaults), asMap(raw))
			if t["RestartPolicy"] == nil {
				t["RestartPolicy"] = g["RestartPolicy"]
			}
			tasks = append(tasks, t)
		}
		g["Tasks"] = tasks
		groups = append(groups, g)
	}
	j["TaskGroups"] = groups
	return document(j), nil
}

// trimNetwork leaves out what is empty, as a server writes it.
func trimNetwork(n map[string]any) {
	for k, v := range n {
		if empty(v) {
			delete(n, k)
		}
	}
	for _, kind := range []string{"DynamicPorts", "ReservedPorts"} {
		for _, raw := range asList(n[kind]) {
			p := asMap(raw)
			if p["HostNetwork"] == "" || p["HostNetwork"] == nil {
				p["HostNetwork"] = "default"
			}
			for k, v := range p {
				if empty(v) {
					delete(p, k)
				}
			}
		}
	}
}

func emptyObject(v any) bool {
	m, ok := v.(map[string]any)
	return ok && len(m) == 0
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case float64:
		return v == 0
	case bool:
		return !v
	case []any:
		return len(v) == 0
	}
	return false
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}
