package web

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestEveryAnswerCarriesTheSafetyHeaders(t *testing.T) {
	s, _, _ := newTestServer(t)
	for _, path := range []string{"/", "/api/v1/services", "/nothing", s.assets.base + "app.css"} {
		h := call(s, "GET", path, "").Header()
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", path)
		}
	}
}

func TestAPageOfAnotherOriginMayNotChangeAnything(t *testing.T) {
	s, services, _ := newTestServer(t)
	for _, target := range []string{"/api/v1/services/translate/wake", "/services/translate/wake"} {
		wantStatus(t, call(s, "POST", target, "", "Sec-Fetch-Site: cross-site"), 403)
		wantStatus(t, call(s, "POST", target, "", "Origin: https://evil.example"), 403)
	}
	if len(services.commands) != 0 {
		t.Errorf("carried out: %v", services.commands)
	}
	wantStatus(t, call(s, "POST", "/api/v1/services/translate/wake", `{"reason":"r"}`, asJSON, "Sec-Fetch-Site: same-origin"), 202)
}

func TestANameThatIsNotOursIsNotAnswered(t *testing.T) {
	s, _, _ := newTestServer(t, func(c *Config) { c.Hosts = []string{"pilotlight.internal"} })
	for host, status := range map[string]int{
		"127.0.0.1:8081": 200, "[::1]:8081": 200, "localhost:8081": 200, "192.0.2.7": 200, "Pilotlight.Internal:8081": 200,
		"rebound.evil.example:8081": 421, "pilotlight.internal.evil.example": 421,
	} {
		r := httptest.NewRequest("GET", "/api/v1/services", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("Host %s: %d, want %d", host, w.Code, status)
		}
	}
}

func TestAuthorsAreCutAndWithoutControlCharacters(t *testing.T) {
	s, services, _ := newTestServer(t)
	wantStatus(t, post(s, "/services/translate/wake", "reason", "r", "by", "ada\x00\x1b[31m"+strings.Repeat("x", 500)), 303)
	if by := services.commands["translate"][0].By; strings.ContainsAny(by, "\x00\x1b") || len([]rune(by)) != 80 {
		t.Errorf("by %q", by)
	}
}
