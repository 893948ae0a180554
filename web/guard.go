package web

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

const contentSecurityPolicy = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// guard stands before the router: headers that every answer carries, and the
// requests that no handler should ever see.
func (s *Server) guard(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // static files say otherwise
		if !s.knownHost(r.Host) {
			p := newProblem(http.StatusMisdirectedRequest, "unknown-host",
				"this control plane does not answer to the name "+quoteName(r.Host)+"; use its IP address or localhost, or allow the name")
			p.write(w)
			return
		}
		if err := crossOrigin.Check(r); err != nil {
			newProblem(http.StatusForbidden, "forbidden", "a page of another origin may not change anything here").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost refuses names that an attacker's DNS may point at this machine.
func (s *Server) knownHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(s.cfg.Hosts, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, host)
	})
}

// limitBody fails reading a request's body beyond limit bytes with
// *http.MaxBytesError, which is answered 413.
func limitBody(limit int64) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			r.Body = http.MaxBytesReader(c.Response(), r.Body, limit)
			return next(c)
		}
	}
}

// author of a change: who the caller says to be (there is no log-in yet), else
// where it came from. Control characters and excess are dropped, because the
// name is stored and shown.
func author(c echo.Context, name string) string {
	name = strings.TrimSpace(strings.Map(printable, name))
	if r := []rune(name); len(r) > 80 {
		name = string(r[:80])
	}
	if name == "" {
		return "unnamed, from " + c.RealIP()
	}
	return name
}

func printable(r rune) rune {
	if r < 0x20 || r == 0x7f {
		return -1
	}
	return r
}

// quoteName shortens and quotes a name that came from a caller.
func quoteName(name string) string {
	name = strings.Map(printable, name)
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return `"` + name + `"`
}
