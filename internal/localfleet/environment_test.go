package localfleet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/jobs"
)

func TestATaskSeesItsSpecItsPortsAndLittleElse(t *testing.T) {
	t.Setenv("SECRET_OF_THE_OWNER", "1")
	r := startFleet(t, func(c *Config) { c.Env = map[string]string{"TZ": "Asia/Shanghai"} })
	spec := testSpec("server", map[string]string{"URL": "http://${NOMAD_ADDR_http}/", "WHERE": "${node.datacenter}"})
	spec.Groups[0].Ports = append(spec.Groups[0].Ports, jobs.Port{Label: "metrics"})
	spec.Groups[0].Tasks[0].Args = []string{"--port=${NOMAD_PORT_http}", "${URL}", "$${NOMAD_ALLOC_ID}"}
	r.ensure(spec)
	r.scale(1)
	a := r.one("running", isRunning)
	port := a.Address[strings.LastIndex(a.Address, ":")+1:]

	var args []string
	if err := json.Unmarshal([]byte(get(t, a.Address, "/args")), &args); err != nil {
		t.Fatal(err)
	}
	want := []string{spec.Groups[0].Tasks[0].Command, "--port=" + port, "http://" + a.Address + "/", "${NOMAD_ALLOC_ID}"}
	if diff := cmp.Diff(want, args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}

	var list []string
	if err := json.Unmarshal([]byte(get(t, a.Address, "/environ")), &list); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	metrics := env["NOMAD_PORT_metrics"]
	if metrics == "" || metrics == port {
		t.Errorf("NOMAD_PORT_metrics: got %q, want a port other than %s", metrics, port)
	}
	dir := filepath.Join(r.allocsDir(), a.ID)
	hostname, err := os.Hostname()
	if err != nil || a.Node != hostname {
		t.Errorf("node: got %s (%v), want %s", a.Node, err, hostname)
	}
	if diff := cmp.Diff(map[string]string{
		"PATH": defaultPath, "HOME": "/", "LANG": "C.UTF-8", "TZ": "Asia/Shanghai",
		actAs: "server", "GORACE": raceEnvironment, "URL": "http://" + a.Address + "/", "WHERE": "dc1",
		"NOMAD_ALLOC_ID": a.ID, "NOMAD_SHORT_ALLOC_ID": a.ID[:8],
		"NOMAD_ALLOC_INDEX": "0", "NOMAD_ALLOC_NAME": "echo.server[0]",
		"NOMAD_JOB_ID": "echo", "NOMAD_JOB_NAME": "echo", "NOMAD_GROUP_NAME": "server", "NOMAD_TASK_NAME": "model",
		"NOMAD_NAMESPACE": "default", "NOMAD_REGION": "global", "NOMAD_DC": "dc1",
		"NOMAD_ALLOC_DIR":   filepath.Join(dir, "alloc"),
		"NOMAD_TASK_DIR":    filepath.Join(dir, "model", "local"),
		"NOMAD_SECRETS_DIR": filepath.Join(dir, "model", "secrets"),
		"NOMAD_IP_http":     host, "NOMAD_PORT_http": port, "NOMAD_ADDR_http": a.Address,
		"NOMAD_HOST_IP_http": host, "NOMAD_HOST_PORT_http": port, "NOMAD_HOST_ADDR_http": a.Address,
		"NOMAD_IP_metrics": host, "NOMAD_PORT_metrics": metrics, "NOMAD_ADDR_metrics": host + ":" + metrics,
		"NOMAD_HOST_IP_metrics": host, "NOMAD_HOST_PORT_metrics": metrics, "NOMAD_HOST_ADDR_metrics": host + ":" + metrics,
	}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestTheCommandPilotlightIsThisProgram(t *testing.T) {
	cfg := Config{Dir: "state", Bin: "/opt/pilotlight"}.Defaults()
	spec := testSpec("server", nil)
	task := &spec.Groups[0].Tasks[0]
	task.Command = "pilotlight"
	a := newAllocation(testRef, &spec.Groups[0], 0, 0, nil, newHome(t.TempDir()), cfg.Node)
	if _, _, err := cfg.commandLine(a, task, cfg.environment(a, task)); err == nil {
		t.Error("a missing program was found")
	}
	cfg.Bin = "/bin/sh"
	program, args, err := cfg.commandLine(a, task, cfg.environment(a, task))
	if err != nil || program != "/bin/sh" || args[0] != "pilotlight" {
		t.Errorf("got %s %v (%v), want /bin/sh as pilotlight", program, args, err)
	}
}
