package redisdb

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestOpenUnderstandsEveryForm(t *testing.T) {
	for _, url := range []string{
		"redis://127.0.0.1:6379", "redis://:secret@127.0.0.1:6379/2", "rediss://h:1", "unix:///tmp/x.sock",
		"redis+sentinel://h1,h2:26380/master/0", "redis+cluster://u:p%40w@h1,h2",
	} {
		c, err := Open(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = c.Close()
	}
}

func TestOpenSaysWhatIsWrongAndHidesThePassword(t *testing.T) {
	for _, url := range []string{
		"127.0.0.1:6379", "http://x", "redis://:secret@h:port/x", "redis+sentinel://:secret@h1/",
		"redis+cluster://:secret@h1/3", "redis+cluster://:secret@,h", "redis+sentinel://:secret@h/m/x",
	} {
		_, err := Open(url)
		if err == nil {
			t.Errorf("%s: no error", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add("redis+sentinel://u:p@h1,h2/master/0")
	f.Add("redis://%zz")
	f.Fuzz(func(t *testing.T, url string) {
		if c, err := Open(url); err == nil {
			_ = c.Close()
		}
	})
}

func TestWhatAServerWasToldSurvivesItsRestart(t *testing.T) {
	s, err := NewServer(t.TempDir(), slog.New(slog.DiscardHandler))
	if errors.Is(err, ErrNoServer) {
		t.Skip("redis-server is not installed")
	}
	for i, do := range []func(redis.UniversalClient){
		func(c redis.UniversalClient) {
			if err := c.Set(t.Context(), "pl:x", "kept", 0).Err(); err != nil {
				t.Error(err)
			}
		},
		func(c redis.UniversalClient) {
			if v, err := c.Get(t.Context(), "pl:x").Result(); v != "kept" {
				t.Errorf("after a restart: %q, %v", v, err)
			}
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if err := s.Run(ctx, func(c redis.UniversalClient) { do(c); cancel() }); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
}
