package jobs

import "testing"

func TestInterpolate(t *testing.T) {
	env := map[string]string{
		"NOMAD_PORT_http":  "23456",
		"NOMAD_ALLOC_ID":   "a1",
		"EMPTY":            "",
		"NESTED":           "${NOMAD_ALLOC_ID}",
		"attr.kernel.name": "linux",
	}
	for _, c := range []struct{ name, in, want string }{
		{"text without a reference is returned as it is", "plain $HOME {x}", "plain $HOME {x}"},
		{"a name is replaced", "--port=${NOMAD_PORT_http}", "--port=23456"},
		{"several names are replaced", "${NOMAD_ALLOC_ID}:${NOMAD_PORT_http}", "a1:23456"},
		{"dotted names are names", "${attr.kernel.name}", "linux"},
		{"the index form of an environment variable is its name", `${env["NOMAD_ALLOC_ID"]}`, "a1"},
		{"an empty value replaces too", "[${EMPTY}]", "[]"},
		{"an unknown name stays", "${node.class}-${NOMAD_ALLOC_ID}", "${node.class}-a1"},
		{"an escaped reference loses one dollar and is not replaced", "$${NOMAD_ALLOC_ID}", "${NOMAD_ALLOC_ID}"},
		{"a lone dollar before other text stays", "$5 ${NOMAD_ALLOC_ID}", "$5 a1"},
		{"an inserted value is not looked at again", "${NESTED}", "${NOMAD_ALLOC_ID}"},
		{"an inserted value does not escape what follows it", "${EMPTY}${NOMAD_ALLOC_ID}", "a1"},
		{"an unterminated reference stays", "a${NOMAD_ALLOC_ID", "a${NOMAD_ALLOC_ID"},
		{"an empty reference stays", "${}", "${}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Interpolate(c.in, env); got != c.want {
				t.Errorf("Interpolate(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestInterpolateAcceptsANilEnvironment(t *testing.T) {
	if got := Interpolate("${X}", nil); got != "${X}" {
		t.Errorf("got %q", got)
	}
}
