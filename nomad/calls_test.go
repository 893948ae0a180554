package nomad

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

func TestEveryCallIsToldByANameThatIsOneOfFew(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		var (
			mu    sync.Mutex
			names []string
		)
		b.cfg.OnCall = func(method, route string, status int, err error, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if (status == 0) != (err != nil) || took < 0 {
				t.Errorf("%s %s: status %d, error %v, took %v", method, route, status, err, took)
			}
			names = append(names, method+" "+route)
		}
		b.Fleet = b.another()
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.observe(translateRef)
		b.scale(translateRef, 1)
		b.double.CutStreams()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(names)
		for _, want := range []string{"GET event-stream", "GET job", "GET allocations", "GET jobs", "PUT jobs", "PUT jobs-parse", "PUT job-scale"} {
			if !slices.Contains(names, want) {
				t.Errorf("%s was not told of: %v", want, slices.Compact(slices.Clone(names)))
			}
		}
		for _, n := range names {
			if strings.Contains(n, "other") || strings.Contains(n, "translate") {
				t.Errorf("got a route %q", n)
			}
		}
	})
}

func TestRoutesHaveNames(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/job/translate/scale":                      "job-scale",
		"/v1/job/a%2Fscale/plan":                       "job-plan",
		"/v1/job/translate":                            "job",
		"/v1/allocations?index=7":                      "allocations-blocking",
		"/v1/allocations?index=":                       "allocations-blocking",
		"/v1/event/stream?index=7&topic=Job:*":         "event-stream",
		"/v1/client/fs/logs/8a1b?task=engine":          "client-logs",
		"/v1/client/stats?node_id=x":                   "client-stats",
		"/v1/something/else":                           "other",
		"/v1/job/translate/scale/of/something/unknown": "other",
	} {
		if got := routeOf(httptest.NewRequest("GET", path, nil)); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestSecretsAreInNoErrorAndNoLog(t *testing.T) {
	const token, password = "b0f5c5a1-token", "pass-w0rd"
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Nomad-Token") != token {
			t.Errorf("the token was not sent")
		}
		if _, p, _ := r.BasicAuth(); p != password {
			t.Errorf("the password was not sent")
		}
		http.Error(w, "Permission denied", http.StatusForbidden)
	}))
	defer refusing.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	var told bytes.Buffer
	for _, address := range []string{refusing.URL, gone.URL} {
		f, err := New(Config{
			Address: strings.Replace(address, "http://", "http://me:"+password+"@", 1),
			Token:   token,
			Logger:  slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug})),
			OnCall: func(_, _ string, _ int, err error, _ time.Duration) {
				if err != nil {
					told.WriteString(err.Error())
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx := contextFor(t, 200*time.Millisecond)
		s := parse(t, translate)
		for _, err := range []error{
			f.Ensure(ctx, s, translateRef, false), f.Scale(ctx, translateRef, 1, "", nil),
			f.Revive(ctx, s, translateRef, ""), f.Note(ctx, translateRef, "", nil),
		} {
			if err == nil {
				t.Fatal("got no error")
			}
			told.WriteString(err.Error() + "\n")
		}
		f.Close()
	}
	for _, address := range []string{"http://me:" + password + "@", "ftp://me:" + password + "@host", "http://me:" + password + "@host:port"} {
		if err := (Config{Address: address, Token: token}).Validate(); err == nil {
			t.Errorf("%s: got no error", address)
		} else {
			told.WriteString(err.Error() + "\n")
		}
	}
	for _, secret := range []string{token, password} {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%q was told:\n%s", secret, told.String())
		}
	}
}

func TestTheEnvironmentIsReadAsNomadsOwnToolsReadIt(t *testing.T) {
	for _, env := range []map[string]string{
		{},
		{"NOMAD_ADDR": "https://nomad.example:4646", "NOMAD_TOKEN": "t", "NOMAD_NAMESPACE": "n", "NOMAD_REGION": "r",
			"NOMAD_CACERT": "ca.pem", "NOMAD_CAPATH": "cas", "NOMAD_CLIENT_CERT": "c.pem", "NOMAD_CLIENT_KEY": "k.pem",
			"NOMAD_TLS_SERVER_NAME": "server.global.nomad"},
		{"NOMAD_HTTP_AUTH": "me:pass:word"},
		{"NOMAD_HTTP_AUTH": "me"},
		{"NOMAD_SKIP_VERIFY": "1"},
		{"NOMAD_SKIP_VERIFY": "T"},
		{"NOMAD_SKIP_VERIFY": "TRUE"},
		{"NOMAD_SKIP_VERIFY": "0"},
		{"NOMAD_SKIP_VERIFY": "yes"}, // is none of Go's
	} {
		for _, name := range []string{"NOMAD_ADDR", "NOMAD_TOKEN", "NOMAD_NAMESPACE", "NOMAD_REGION", "NOMAD_CACERT", "NOMAD_CAPATH", "NOMAD_CLIENT_CERT",
			"NOMAD_CLIENT_KEY", "NOMAD_TLS_SERVER_NAME", "NOMAD_HTTP_AUTH", "NOMAD_SKIP_VERIFY"} {
			t.Setenv(name, env[name])
		}
		want, got := api.DefaultConfig(), FromEnvironment(func(name string) string { return env[name] })
		if want.HttpAuth == nil {
			want.HttpAuth = new(api.HttpBasicAuth)
		}
		if want.Namespace == "" {
			want.Namespace = "default"
		}
		for _, c := range []struct {
			what      string
			got, want any
		}{
			{"address", got.Address, want.Address}, {"token", got.Token, want.SecretID},
			{"namespace", got.Namespace, want.Namespace}, {"region", got.Region, want.Region},
			{"user", got.Username, want.HttpAuth.Username}, {"password", got.Password, want.HttpAuth.Password},
			{"CA file", got.CACert, want.TLSConfig.CACert}, {"CA directory", got.CAPath, want.TLSConfig.CAPath},
			{"certificate", got.ClientCert, want.TLSConfig.ClientCert}, {"key", got.ClientKey, want.TLSConfig.ClientKey},
			{"server name", got.TLSServerName, want.TLSConfig.TLSServerName}, {"verification", got.SkipVerify, want.TLSConfig.Insecure},
		} {
			if c.got != c.want {
				t.Errorf("%v: %s: got %v, want %v", env, c.what, c.got, c.want)
			}
		}
	}
}
