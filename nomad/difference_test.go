package nomad

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// In all of these the secret is s3cr3t.
func TestNoSecretIsShownByAnyoneWhoShowsADifference(t *testing.T) {
	const secret = "s3cr3t"
	field := func(name, value string) *api.FieldDiff {
		return &api.FieldDiff{Type: "Edited", Name: name, Old: strings.ReplaceAll(value, secret, secret+"-old"), New: value}
	}
	none := func(name, value string) *api.FieldDiff {
		return &api.FieldDiff{Type: "None", Name: name, Old: value, New: value}
	}
	for _, c := range []struct {
		name, object string
		fields       []*api.FieldDiff
	}{
		{"an environment", "", []*api.FieldDiff{field("Env[DATABASE_URL]", "postgres://db/s3cr3t")}},
		{"metadata", "", []*api.FieldDiff{field("Meta[note]", "s3cr3t")}},
		{"metadata of a service", "Service", []*api.FieldDiff{field("CanaryMeta[note]", "s3cr3t")}},
		{"a template", "Template", []*api.FieldDiff{field("EmbeddedTmpl", "X=s3cr3t")}},
		{"the environment of a container", "Config", []*api.FieldDiff{field("environment[0][X]", "s3cr3t")}},
		{"a key in the driver's configuration", "Config", []*api.FieldDiff{field("api_key", "s3cr3t")}},
		{"a password of a registry", "Config", []*api.FieldDiff{field("auth[0][password]", "s3cr3t")}},
		{"an argument with its name", "Config", []*api.FieldDiff{field("args[1]", "--api-key=s3cr3t")}},
		{"an argument after its name", "Config", []*api.FieldDiff{none("args[1]", "--api-key"), field("args[2]", "s3cr3t")}},
		{"a shell's line", "Config", []*api.FieldDiff{field("args[1]", "HF_TOKEN=s3cr3t vllm serve")}},
		{"a header of a request", "Config", []*api.FieldDiff{field("args[1]", "Authorization: Bearer s3cr3t")}},
		{"a header of an artifact", "Artifact", []*api.FieldDiff{field("GetterHeaders[X-Mine]", "s3cr3t")}},
		{"the password of a URL", "Artifact", []*api.FieldDiff{field("GetterSource", "https://me:s3cr3t@example.com/w")}},
		{"a key for ssh", "Artifact", []*api.FieldDiff{field("GetterOptions[sshkey]", "s3cr3t")}},
		{"a key by its look", "Config", []*api.FieldDiff{field("args[0]", "sk-s3cr3t")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := &api.TaskDiff{Type: "Edited", Name: "model"}
			if c.object == "" {
				task.Fields = c.fields
			} else {
				task.Objects = []*api.ObjectDiff{{Type: "Edited", Name: c.object, Fields: c.fields}}
			}
			diff := &api.JobDiff{Type: "Edited", TaskGroups: []*api.TaskGroupDiff{{Type: "Edited", Name: "server", Tasks: []*api.TaskDiff{task}}}}
			lines, planned := driftLines(diff), changes(diff)
			if len(lines) != 1 || len(planned) != 1 {
				t.Fatalf("got %q and %+v, want one of each", lines, planned)
			}
			if all := fmt.Sprint(lines, planned); strings.Contains(all, secret) {
				t.Errorf("shown: %s", all)
			}
		})
	}
}

func TestWhatIsNoSecretIsShown(t *testing.T) {
	diff := &api.JobDiff{Type: "Edited", TaskGroups: []*api.TaskGroupDiff{{Type: "Edited", Name: "server", Tasks: []*api.TaskDiff{
		{Type: "Edited", Name: "model", Objects: []*api.ObjectDiff{{Type: "Edited", Name: "Config", Fields: []*api.FieldDiff{
			{Type: "Edited", Name: "args[0]", Old: "--max-num-batched-tokens", New: "--max-num-batched-tokens=8192"},
			{Type: "Edited", Name: "args[1]", Old: "4096", New: "8192"},
			{Type: "Edited", Name: "args[2]", Old: "--tokenizer=a", New: "--tokenizer=b"},
			{Type: "Edited", Name: "image", Old: "example.com/vllm:1", New: "example.com:5000/vllm:2"},
		}}}}}}}}
	for _, c := range changes(diff) {
		if c.Hidden || c.New == "" {
			t.Errorf("%s is hidden", c.Path)
		}
	}
}

// A job's new block is a line for who watches it, and all its fields for who is
// about to register it.
func TestABlockIsTakenApartForAPlanOnly(t *testing.T) {
	diff := &api.JobDiff{Type: "Edited", TaskGroups: []*api.TaskGroupDiff{{Type: "Edited", Name: "server", Objects: []*api.ObjectDiff{
		{Type: "Added", Name: "Constraint", Fields: []*api.FieldDiff{{Type: "Added", Name: "LTarget", New: "a"}, {Type: "Added", Name: "RTarget", New: "b"}}}}}}}
	if lines, planned := driftLines(diff), changes(diff); len(lines) != 1 || len(planned) != 2 {
		t.Errorf("got %q and %+v", lines, planned)
	}
}
