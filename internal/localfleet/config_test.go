package localfleet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultsAreComplete(t *testing.T) {
	if err := (Config{Dir: "state"}).Defaults().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAWrongConfigNamesEveryField(t *testing.T) {
	err := Config{PortMin: 10, PortMax: 9, MaxAllocations: -1, Bin: "pilotlight", LogBytes: 1}.Defaults().Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, field := range []string{"Dir:", "PortMin, PortMax:", "MaxAllocations:", "Bin:", "LogBytes:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New took a config without a directory")
	}
}

func TestTasksInheritOnlyWhatIsNoSecret(t *testing.T) {
	got := BaseEnv([]string{"PATH=/bin", "HOME=/root", "LANG=C", "TZ=UTC", "NOMAD_TOKEN=x", "PILOTLIGHT_REDIS=y", "PATHS=z"})
	if diff := cmp.Diff(map[string]string{"PATH": "/bin", "HOME": "/root", "LANG": "C", "TZ": "UTC"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
