package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// storeTimeout bounds every reading of the store on behalf of one request.
const storeTimeout = 3 * time.Second

// Server is the control plane. It listens on nothing itself: Handler is served,
// and Run is run, by whoever made it.
type Server struct {
	cfg         Config
	echo        *echo.Echo
	handler     http.Handler
	assets      *assets
	views       *views
	feed        *feed
	simulations *simulations
	openAPI     []byte

	picture atomic.Pointer[picture] // what was last read of the fleet, for when the store is silent
}

// New checks cfg, parses the embedded templates and builds the router. It
// starts nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	assets, err := loadAssets()
	if err != nil {
		return nil, fmt.Errorf("load embedded files: %w", err)
	}
	views, err := loadViews(assets.base)
	if err != nil {
		return nil, fmt.Errorf("parse embedded templates: %w", err)
	}
	s := &Server{cfg: cfg, assets: assets, views: views, feed: newFeed(), simulations: newSimulations(cfg.Logger)}

	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.fail
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: s.logPanic}))
	e.Use(middleware.GzipWithConfig(middleware.GzipConfig{
		MinLength: 1024,
		Skipper: func(c echo.Context) bool { // the stream must not be buffered; static files and traces are compressed once
			return c.Path() == eventsPath || c.Path() == tracePath || strings.HasPrefix(c.Path(), "/static/")
		},
	}))
	s.echo = e
	table := s.routes()
	for _, r := range table {
		e.Add(r.method, r.path, r.handler, limitBody(r.limit))
	}
	if s.openAPI, err = describe(table, cfg.Version); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	s.handler = s.guard(e)
	return s, nil
}

// Handler serves API and pages. It may be used before and without Run; the
// stream is then silent but for its heartbeats.
func (s *Server) Handler() http.Handler { return s.handler }

// Run follows what changes and feeds the stream, and simulates, until ctx ends: it
// then ends all streams, so that an http.Server can shut down, and returns ctx's
// error.
func (s *Server) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.simulations.run(ctx) })
	defer s.feed.close()
	return s.follow(ctx)
}

func (s *Server) logPanic(c echo.Context, err error, stack []byte) error {
	s.cfg.Logger.Error("request panicked", "err", err, "path", c.Path(), "stack", string(stack))
	return err
}

// fail answers an error of a handler: as a problem in the API, as a page elsewhere.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed || errors.Is(c.Request().Context().Err(), context.Canceled) {
		return
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		s.cfg.Logger.Error("request failed", "path", c.Path(), "err", err)
	}
	if p.RetryAfterS > 0 {
		c.Response().Header().Set("Retry-After", fmt.Sprint(p.RetryAfterS))
	}
	var sendErr error
	if isAPI(c.Request()) {
		sendErr = p.send(c)
	} else {
		sendErr = s.render(c, p.Status, "error", p.Title, p)
	}
	if sendErr != nil {
		s.cfg.Logger.Debug("error answer not sent", "path", c.Path(), "err", sendErr)
	}
}

func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }
