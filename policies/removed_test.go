package policies_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pilotlight/pilotlight/policies"
)

const day = 24 * time.Hour

func named(name string) string {
	return fmt.Sprintf("policy %q {\n  job = %q\n  route { models = [%q] }\n}\n", name, name, name)
}

// inBubble runs a test on each kind of store, with the days that it needs; keys
// returns the keys of the Redis one.
func inBubble(t *testing.T, test func(t *testing.T, s policies.Store, keys func() string)) {
	t.Run("Memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, policies.NewMemory(), nil) })
	})
	t.Run("Redis", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := miniredis.NewMiniRedis()
			server.ClockTTL(true)
			defer server.Close()
			test(t, policies.NewRedis(client(t, server.Dial)), func() string {
				return strings.Join(server.Keys(), " ")
			})
		})
	})
}

func change(t *testing.T, s policies.Store, name string, base, want int) {
	t.Helper()
	v, err := s.Put(t.Context(), name, named(name), base, "ada", "")
	if err != nil || v.Version != want {
		t.Fatalf("put %s on %d: version %d, %v; want version %d", name, base, v.Version, err, want)
	}
}

func remove(t *testing.T, s policies.Store, name string, base int) {
	t.Helper()
	if _, err := s.Delete(t.Context(), name, base, "ada", ""); err != nil {
		t.Fatal(err)
	}
}

func TestARemovedPolicyIsForgottenAfterThirtyDays(t *testing.T) {
	inBubble(t, func(t *testing.T, s policies.Store, keys func() string) {
		change(t, s, "gone", 0, 1)
		remove(t, s, "gone", 1)
		change(t, s, "other", 0, 1)
		time.Sleep(30*day - time.Minute)
		change(t, s, "other", 1, 2)
		if history, err := s.Versions(t.Context(), "gone"); err != nil || len(history) != 2 {
			t.Errorf("before thirty days its versions are %v, %v", history, err)
		}
		time.Sleep(2 * time.Minute)
		change(t, s, "other", 2, 3)
		if _, err := s.Versions(t.Context(), "gone"); !errors.Is(err, policies.ErrNotFound) {
			t.Errorf("after thirty days its versions: %v, want ErrNotFound", err)
		}
		if keys != nil && keys() != "pl:{policies}:counter pl:{policies}:current pl:{policies}:versions:other" {
			t.Errorf("the keys are %s", keys())
		}
		change(t, s, "gone", 0, 1)
		if history, err := s.Versions(t.Context(), "other"); err != nil || len(history) != 3 {
			t.Errorf("the versions of another policy are %v, %v", history, err)
		}
	})
}

func TestAPolicyThatIsCreatedAgainKeepsItsHistory(t *testing.T) {
	inBubble(t, func(t *testing.T, s policies.Store, _ func() string) {
		change(t, s, "back", 0, 1)
		remove(t, s, "back", 1)
		time.Sleep(10 * day)
		change(t, s, "back", 0, 3)
		time.Sleep(100 * day)
		change(t, s, "back", 3, 4)
		if history, err := s.Versions(t.Context(), "back"); err != nil || len(history) != 4 {
			t.Errorf("its versions are %v, %v, want 4", history, err)
		}
	})
}

func TestTheHistoryOfARemovedPolicyEndsWithoutAnotherChange(t *testing.T) {
	inBubble(t, func(t *testing.T, s policies.Store, keys func() string) {
		change(t, s, "gone", 0, 1)
		remove(t, s, "gone", 1)
		time.Sleep(30*day + time.Minute)
		if keys != nil && strings.Contains(keys(), "versions") {
			t.Errorf("the keys are %s", keys())
		}
		change(t, s, "gone", 0, 3) // its number was still known
	})
}
