package web

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/pilotlight/pilotlight/policies"
)

// curlLine says how to wake a service from a shell.
type curlLine struct {
	Service string
	Text    string // a line that works as pasted; "" if what to send is not known
	Words   string // then: which requests wake it
}

// fleetCurl is of a service that translates if there is one, else of the first
// that there is a whole line for, else of the first.
func (s *Server) fleetCurl(fleet []service) *curlLine {
	var best *curlLine
	for _, svc := range fleet {
		line := s.curl(svc)
		switch {
		case line == nil:
		case translates(svc.Policy.Policy):
			return line
		case best == nil, best.Text == "" && line.Text != "":
			best = line
		}
	}
	return best
}

// The bodies of the lines, in the order in which people write them.
type (
	translation struct {
		Text   string `json:"text"`
		Source string `json:"source_lang"`
		Target string `json:"target_lang"`
	}
	chat struct {
		Model    string    `json:"model"`
		Messages []message `json:"messages"`
	}
	message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
)

func (s *Server) curl(svc service) *curlLine {
	if s.cfg.DataURL == "" || svc.Policy == nil || svc.Policy.Policy == nil {
		return nil
	}
	base := strings.TrimSuffix(s.cfg.DataURL, "/")
	line := &curlLine{Service: svc.Name}
	switch r := svc.Policy.Policy.Route; {
	case translates(svc.Policy.Policy):
		line.Text = postLine(base+"/translate", r.Hosts, translation{"Hello, how are you today?", "en", "es"})
	case len(r.Models) > 0: // at any host
		line.Text = postLine(base+"/v1/chat/completions", nil, chat{r.Models[0], []message{{"user", "Hello"}}})
	case len(r.PathPrefixes) > 0:
		line.Words = "Any request to " + base + r.PathPrefixes[0] + " or below" + atHost(r.Hosts) + " wakes it; what to send there is its model server's own affair."
	case len(r.Hosts) > 0:
		line.Words = "Any request to " + base + atHost(r.Hosts) + " wakes it; what to send there is its model server's own affair."
	default:
		return nil
	}
	return line
}

// translates reports whether POST /translate leads to the service.
func translates(p *policies.Policy) bool {
	r := p.Route
	return slices.Contains(r.PathPrefixes, "/translate") ||
		p.Translate != nil && len(r.PathPrefixes) == 0 && len(r.Hosts) > 0
}

func atHost(hosts []string) string {
	if len(hosts) == 0 {
		return ""
	}
	return " with Host: " + hosts[0]
}

func postLine(url string, hosts []string, body any) string {
	text, err := json.Marshal(body)
	if err != nil {
		return "" // of strings alone: it cannot be
	}
	line := "curl -si " + url
	if len(hosts) > 0 {
		line += " -H " + shellWord("Host: "+hosts[0])
	}
	return line + " -H 'Content-Type: application/json' -d " + shellWord(string(text))
}

// shellWord quotes text so that a shell takes it as one word, as it is.
func shellWord(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
