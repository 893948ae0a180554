package activator

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/activator/queue"
	"github.com/pilotlight/pilotlight/policies"
)

func TestAPolicyThatIsNotValidHereKeepsItsOldRouteAndTheOthersChange(t *testing.T) {
	w := newWorld(t)
	client := redis.NewClient(&redis.Options{Addr: w.redis.Addr(), MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	t.Cleanup(func() { _ = client.Close() })
	q, err := queue.New(queue.Config{Redis: client, Activator: "b"})
	if err != nil {
		t.Fatal(err)
	}
	store := policies.NewRedis(client)
	act, err := New(Config{Policies: store, Queue: q, Statuses: w.statuses, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string) string {
		return fmt.Sprintf("policy %q {\n  job = %q\n  route { models = [%q] }\n}\n", name, name, name)
	}
	put := func(name string, base int) {
		t.Helper()
		if _, err := store.Put(t.Context(), name, text(name), base, "test", ""); err != nil {
			t.Fatal(err)
		}
	}
	versions := func() string {
		act.loadRoutes(t.Context())
		var out []string
		for _, name := range act.routes.Load().names {
			s := act.routes.Load().models[name]
			out = append(out, fmt.Sprintf("%s:%d", s.name, s.version))
		}
		return strings.Join(out, " ")
	}
	put("a", 0)
	put("b", 0)
	if got := versions(); got != "a:1 b:1" {
		t.Fatalf("routes are %q", got)
	}
	// As a later version of the program would have written it.
	w.redis.HSet("pl:{policies}:current", "a", `{"name":"a","version":2,"text":"policy \"a\" {\n  later = 1\n}\n"}`)
	put("b", 1)
	put("c", 0)
	if got := versions(); got != "a:1 b:2 c:1" {
		t.Errorf("routes are %q, want the old one of a and the new ones of the others", got)
	}
	put("a", 2)
	if got := versions(); got != "a:3 b:2 c:1" {
		t.Errorf("routes are %q after a was put right", got)
	}
}
