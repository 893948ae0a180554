package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/scaler/simulate"
)

//go:embed templates
var templateFiles embed.FS

// views are the parsed pages: each is the layout, the parts, and one file.
type views struct {
	base  string
	pages map[string]*template.Template
}

// page is what the layout shows around a body.
type page struct {
	Title    string
	Nav      string // path of the entry that is current
	Base     string // of static files
	Version  string
	Dev      bool
	Warnings []string
	Now      time.Time
	Stream   string    // of events, with the filter that this page needs
	RefreshS int       // seconds after which a page without JavaScript reads itself again; 0: never
	AsOf     time.Time // when the picture was taken, if the store is silent now
	Body     any
}

func loadViews(base string) (*views, error) {
	v := &views{base: base, pages: make(map[string]*template.Template)}
	shared, err := template.New("").Funcs(templateFuncs).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(templateFiles, "templates/page_*.html")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if t, err = t.ParseFS(templateFiles, file); err != nil {
			return nil, err
		}
		v.pages[strings.TrimSuffix(strings.TrimPrefix(path.Base(file), "page_"), ".html")] = t
	}
	return v, nil
}

// render answers a page whole or not at all: a template that fails half way
// must not leave half a page.
func (s *Server) render(c echo.Context, status int, view, title string, body any) error {
	return s.renderPage(c, status, view, page{Title: title, Body: body})
}

func (s *Server) renderPage(c echo.Context, status int, view string, p page) error {
	t := s.views.pages[view]
	if t == nil {
		return fmt.Errorf("there is no view %q", view)
	}
	p.Base, p.Version, p.Dev, p.Warnings, p.Now = s.views.base, s.cfg.Version, s.cfg.Dev, s.cfg.Warnings(), time.Now()
	if p.Nav == "" {
		p.Nav = c.Request().URL.Path
	}
	if p.Stream == "" {
		p.Stream = eventsPath + "?topics=" + topicPolicy
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", p); err != nil {
		return fmt.Errorf("render %s: %w", view, err)
	}
	return c.HTMLBlob(status, b.Bytes())
}

var templateFuncs = template.FuncMap{
	"ago":      ago,
	"span":     span,
	"plural":   plural,
	"duration": duration,
	"utc":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"dict":     dict,
	"now":      time.Now,
	"count":    simulate.Count,
	"hours":    func(s float64) string { return short(s / 3600) },
	"number":   short,
	"usd": func(v *float64) string { // nil: not known
		if v == nil {
			return "–"
		}
		return strconv.FormatFloat(*v, 'f', 2, 64)
	},
	"percent": func(share float64) string { return strconv.FormatFloat(100*share, 'f', 0, 64) + " %" },
	"seconds": func(s float64) string { return simulate.Span(time.Duration(s * float64(time.Second))) },
	"add":     func(a, b int) int { return a + b },
	"sub":     func(a, b time.Time) time.Duration { return max(0, a.Sub(b).Truncate(time.Second)) },
	"short": func(id string) string {
		if len(id) > 12 {
			return id[:8]
		}
		return id
	},
}

// dict gives a part more than one argument.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict takes pairs, got %d values", len(pairs))
	}
	out := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict names are text, got %v", pairs[i])
		}
		out[name] = pairs[i+1]
	}
	return out, nil
}
