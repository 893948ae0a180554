package web

import (
	"html"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/policies"
)

func TestTheCurlLineGoesToTheDataPlane(t *testing.T) {
	s, _, _ := newTestServer(t)
	want := `curl -si http://127.0.0.1:8080/translate -H 'Content-Type: application/json' -d '{"text":"Hello, how are you today?","source_lang":"en","target_lang":"es"}'`
	for _, path := range []string{"/", "/services/translate"} {
		if !strings.Contains(html.UnescapeString(call(s, "GET", path, "").Body.String()), want) {
			t.Errorf("%s lacks the line", path)
		}
	}
}

// routed is a service whose policy has these lines in its route block.
func routed(t *testing.T, name, route string) service {
	t.Helper()
	list, err := policies.Parse("", []byte("policy \""+name+"\" {\njob = \"stub\"\nroute {\n"+route+"\n}\n}\n"))
	if err != nil {
		t.Fatalf("%s: %v", route, err)
	}
	svc := service{Policy: &policies.Version{Name: name, Policy: list[0]}}
	svc.Name = name
	return svc
}

func TestWhatIsSaidToWakeAServiceIsWhatItsRouteTakes(t *testing.T) {
	const json = " -H 'Content-Type: application/json' -d "
	s, _, _ := newTestServer(t)
	for _, test := range []struct{ name, route, want string }{
		{"models", `models = ["it's-7b", "other"]`,
			"curl -si http://127.0.0.1:8080/v1/chat/completions" + json + `'{"model":"it'\''s-7b","messages":[{"role":"user","content":"Hello"}]}'`},
		{"models before a path", `models = ["chat-7b"]` + "\n" + `path_prefixes = ["/chat"]`,
			"curl -si http://127.0.0.1:8080/v1/chat/completions" + json + `'{"model":"chat-7b","messages":[{"role":"user","content":"Hello"}]}'`},
		{"a path", `path_prefixes = ["/large"]`,
			"Any request to http://127.0.0.1:8080/large or below wakes it; what to send there is its model server's own affair."},
		{"a path at a host", `path_prefixes = ["/large"]` + "\n" + `hosts = ["gpu.example.org"]`,
			"Any request to http://127.0.0.1:8080/large or below with Host: gpu.example.org wakes it"},
		{"a host", `hosts = ["gpu.example.org"]`, "Any request to http://127.0.0.1:8080 with Host: gpu.example.org wakes it"},
		{"translations at a host", `hosts = ["gpu.example.org"]` + "\n}\ntranslate {\n" + `backend = "passthrough"`,
			"curl -si http://127.0.0.1:8080/translate -H 'Host: gpu.example.org'" + json},
		{"a translate block that no request reaches", `path_prefixes = ["/mt"]` + "\n}\ntranslate {\n" + `backend = "passthrough"`,
			"Any request to http://127.0.0.1:8080/mt or below wakes it"},
	} {
		line := s.curl(routed(t, "large", test.route))
		if got := line.Text + line.Words; !strings.HasPrefix(got, test.want) {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestTheFleetsCurlLineIsOfAServiceThatTranslatesOrElseOfOneThatHasALine(t *testing.T) {
	s, _, _ := newTestServer(t)
	path, chat, translate := routed(t, "a", `path_prefixes = ["/a"]`), routed(t, "b", `models = ["b-7b"]`), routed(t, "c", `path_prefixes = ["/translate"]`)
	for _, test := range []struct {
		fleet []service
		want  string
	}{
		{[]service{path, chat, translate}, "c"}, {[]service{path, chat}, "b"}, {[]service{chat, path}, "b"}, {[]service{path, {}}, "a"},
	} {
		if got := s.fleetCurl(test.fleet); got == nil || got.Service != test.want {
			t.Errorf("%+v, want of %s", got, test.want)
		}
	}
	if got := s.fleetCurl(nil); got != nil {
		t.Errorf("%+v of an empty fleet", got)
	}
}
