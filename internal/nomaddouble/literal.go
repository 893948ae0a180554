package nomaddouble

import (
	"maps"
	"strconv"
	"strings"
	"text/scanner"
	"time"
)

// literals are the values of a job file that stand there as such. jobs/spec
// evaluates what Pilotlight reads of a job; this reads the rest as far as it
// needs no evaluation (config, resources, constraints, and the blocks about
// nodes that go), so that a double of Nomad has a whole job.
type literals struct {
	values map[string]any
	blocks []literalBlock
}

type literalBlock struct {
	kind, label string
	literals
}

// readLiterals never fails: what it does not understand it leaves out.
func readLiterals(source string) literals {
	p := &literalParser{}
	p.scan.Init(strings.NewReader(withoutHeredocs(source)))
	p.scan.Error = func(*scanner.Scanner, string) {}
	p.scan.Mode = scanner.ScanIdents | scanner.ScanFloats | scanner.ScanStrings | scanner.ScanComments | scanner.SkipComments
	p.next()
	all := p.body()
	p.names = map[string]string{}
	for _, b := range all.blocks {
		switch b.kind {
		case "variable":
			if text, ok := b.values["default"].(string); ok {
				p.names["var."+b.label] = text
			}
		case "locals":
			for k, v := range b.values {
				if text, ok := v.(string); ok {
					p.names["local."+k] = text
				}
			}
		}
	}
	all.expand(p.names)
	return all
}

// withoutHeredocs drops heredocs and # comments, which the scanner does not
// know.
func withoutHeredocs(source string) string {
	var b strings.Builder
	end := ""
	for line := range strings.Lines(source) {
		text := strings.TrimSpace(line)
		switch {
		case end != "":
			if text == end {
				end = ""
			}
			continue
		case strings.HasPrefix(text, "#"):
			b.WriteByte('\n')
			continue
		}
		if before, marker, found := strings.Cut(text, "<<"); found && strings.Contains(before, "=") {
			end = strings.Trim(strings.TrimPrefix(marker, "-"), `"`)
			continue
		}
		if i := strings.Index(line, " #"); i >= 0 && strings.Count(line[:i], `"`)%2 == 0 {
			line = line[:i] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

type literalParser struct {
	scan  scanner.Scanner
	token rune
	text  string
	line  int
	names map[string]string
}

func (p *literalParser) next() {
	p.token = p.scan.Scan()
	p.text, p.line = p.scan.TokenText(), p.scan.Position.Line
}

func (p *literalParser) body() literals {
	l := literals{values: map[string]any{}}
	for p.token != scanner.EOF && p.text != "}" {
		name := p.name()
		p.next()
		switch {
		case p.text == "=" || p.text == ":":
			p.next()
			if v, ok := p.value(); ok {
				l.values[name] = v
			}
		case p.text == "{" || p.token == scanner.String || p.token == scanner.Ident:
			b := literalBlock{kind: name}
			for p.text != "{" && p.token != scanner.EOF {
				b.label = p.name()
				p.next()
			}
			p.next()
			b.literals = p.body()
			p.next()
			l.blocks = append(l.blocks, b)
		}
		if p.text == "," {
			p.next()
		}
	}
	return l
}

func (p *literalParser) name() string {
	if text, err := strconv.Unquote(p.text); err == nil {
		return text
	}
	return p.text
}

// value reads one expression; one that is no literal is passed over.
func (p *literalParser) value() (any, bool) {
	line := p.line
	switch {
	case p.token == scanner.String:
		text := p.name()
		p.next()
		return text, true
	case p.token == scanner.Int, p.token == scanner.Float:
		n, err := strconv.ParseFloat(p.text, 64)
		p.next()
		return n, err == nil
	case p.text == "true" || p.text == "false":
		v := p.text == "true"
		p.next()
		return v, true
	case p.text == "[":
		p.next()
		list := []any{}
		for p.text != "]" && p.token != scanner.EOF {
			if v, ok := p.value(); ok {
				list = append(list, v)
			}
			if p.text == "," {
				p.next()
			}
		}
		p.next()
		return list, true
	case p.text == "{":
		p.next()
		l := p.body()
		p.next()
		return l.values, true
	case p.text == "var" || p.text == "local":
		root := p.text
		p.next()
		p.next()
		name := p.text
		p.next()
		return "${" + root + "." + name + "}", true
	}
	for depth := 0; p.token != scanner.EOF && (depth > 0 || p.line == line); p.next() {
		switch p.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth == 0 {
				return nil, false
			}
			depth--
		case ",":
			if depth == 0 {
				return nil, false
			}
		}
	}
	return nil, false
}

// expand puts the defaults of variables and locals into texts.
func (l *literals) expand(names map[string]string) {
	for k, v := range l.values {
		l.values[k] = expanded(v, names)
	}
	for i := range l.blocks {
		l.blocks[i].expand(names)
	}
}

func expanded(v any, names map[string]string) any {
	switch v := v.(type) {
	case string:
		for name, text := range names {
			v = strings.ReplaceAll(v, "${"+name+"}", text)
		}
		return v
	case []any:
		for i := range v {
			v[i] = expanded(v[i], names)
		}
	case map[string]any:
		for k := range v {
			v[k] = expanded(v[k], names)
		}
	}
	return v
}

func (l literals) block(kind, label string) (literals, bool) {
	for _, b := range l.blocks {
		if b.kind == kind && (label == "" || b.label == label) {
			return b.literals, true
		}
	}
	return literals{}, false
}

// into copies values under the names that a job document has for them;
// durations are written as nanoseconds.
func (l literals) into(d map[string]any, names map[string]string) {
	for from, to := range names {
		v, ok := l.values[from]
		if !ok {
			continue
		}
		if text, isText := v.(string); isText {
			if duration, err := time.ParseDuration(text); err == nil {
				v = float64(duration)
			}
		}
		d[to] = v
	}
}

func (l literals) constraints() any {
	var all []any
	for _, b := range l.blocks {
		if b.kind != "constraint" {
			continue
		}
		c := map[string]any{"LTarget": "", "RTarget": "", "Operand": "="}
		b.into(c, map[string]string{"attribute": "LTarget", "value": "RTarget", "operator": "Operand"})
		all = append(all, c)
	}
	if all == nil {
		return nil
	}
	return all
}

// complete adds to a parsed job what jobs/spec does not read.
func (l literals) complete(j document) {
	file, ok := l.block("job", "")
	if !ok {
		return
	}
	file.into(j, map[string]string{"datacenters": "Datacenters", "node_pool": "NodePool", "priority": "Priority", "all_at_once": "AllAtOnce"})
	j["Constraints"] = file.constraints()
	if meta, ok := file.block("meta", ""); ok {
		j["Meta"] = meta.values
	}
	for _, raw := range asDocuments(j["TaskGroups"]) {
		if g, ok := file.block("group", raw["Name"].(string)); ok {
			g.completeGroup(raw)
		}
	}
}

func (l literals) completeGroup(g document) {
	g["Constraints"] = l.constraints()
	if b, ok := l.block("disconnect", ""); ok {
		d := map[string]any{"LostAfter": 0.0, "Replace": true, "Reconcile": "best_score", "StopOnClientAfter": nil}
		b.into(d, map[string]string{"lost_after": "LostAfter", "replace": "Replace", "reconcile": "Reconcile", "stop_on_client_after": "StopOnClientAfter"})
		g["Disconnect"] = d
	}
	for kind, key := range map[string]string{"migrate": "Migrate", "update": "Update"} {
		if b, ok := l.block(kind, ""); ok {
			d := map[string]any{}
			if had, ok := g[key].(document); ok {
				d = maps.Clone(had)
			}
			b.into(d, map[string]string{"max_parallel": "MaxParallel", "min_healthy_time": "MinHealthyTime", "healthy_deadline": "HealthyDeadline",
				"progress_deadline": "ProgressDeadline", "health_check": "HealthCheck", "auto_revert": "AutoRevert", "auto_promote": "AutoPromote",
				"canary": "Canary", "stagger": "Stagger"})
			g[key] = d
		}
	}
	for _, t := range asDocuments(g["Tasks"]) {
		if b, ok := l.block("task", t["Name"].(string)); ok {
			b.completeTask(t)
		}
	}
}

func (l literals) completeTask(t document) {
	t["Constraints"] = l.constraints()
	if meta, ok := l.block("meta", ""); ok {
		t["Meta"] = meta.values
	}
	if b, ok := l.block("config", ""); ok {
		config := maps.Clone(b.values)
		for k, v := range t["Config"].(document) { // evaluated, not as it stands
			config[k] = v
		}
		t["Config"] = config
	}
	b, ok := l.block("resources", "")
	if !ok {
		return
	}
	r := t["Resources"].(document)
	b.into(r, map[string]string{"cpu": "CPU", "memory": "MemoryMB", "memory_max": "MemoryMaxMB", "cores": "Cores"})
	var devices []any
	for _, d := range b.blocks {
		if d.kind == "device" {
			device := map[string]any{"Name": d.label, "Count": 1.0, "Constraints": d.constraints(), "Affinities": nil}
			d.into(device, map[string]string{"count": "Count"})
			devices = append(devices, device)
		}
	}
	if devices != nil {
		r["Devices"] = devices
	}
}

func asDocuments(v any) []document {
	all, _ := v.([]document)
	return all
}
