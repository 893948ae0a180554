package policies

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

func redisStore(t *testing.T) (*miniredis.Miniredis, *Redis) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{
		Addr:                     server.Addr(),
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { client.Close() })
	return server, NewRedis(client)
}

func TestAChangeThatIsSentTwiceIsMadeOnce(t *testing.T) {
	server, s := redisStore(t)
	raw, err := json.Marshal(record{Version: Version{Name: "a", Version: 1, Text: policyText("")}, Op: "x"})
	if err != nil {
		t.Fatal(err)
	}
	send := func(raw string, counter string) bool {
		t.Helper()
		saved, err := changeScript.Run(t.Context(), s.client,
			[]string{keyCurrent, keyVersions + "a", keyCounter}, "a", raw, counter, maxVersions, changedChan).Bool()
		if err != nil {
			t.Fatal(err)
		}
		return saved
	}
	if !send(string(raw), "") || !send(string(raw), "") {
		t.Error("the repeated change was not recognized as made")
	}
	if send(strings.Replace(string(raw), `"x"`, `"y"`, 1), "") {
		t.Error("a change that did not know of the first one was made")
	}
	versions, err := server.List(keyVersions + "a")
	if err != nil || len(versions) != 1 {
		t.Errorf("%d versions are stored (%v), want 1", len(versions), err)
	}
	if counter, _ := server.Get(keyCounter); counter != "1" {
		t.Errorf("the counter is %s, want 1", counter)
	}
}

func TestAllKeysAreInOneSlot(t *testing.T) {
	server, s := redisStore(t)
	if _, err := s.Put(t.Context(), "translate", policyText(""), 0, "ada", ""); err != nil {
		t.Fatal(err)
	}
	want := []string{"pl:{policies}:counter", "pl:{policies}:current", "pl:{policies}:versions:translate"}
	if got := server.Keys(); !slices.Equal(got, want) {
		t.Errorf("the keys are %q, want %q", got, want)
	}
}

func TestAStoredTextThatIsNotValidHereIsNeverSkipped(t *testing.T) {
	_, s := redisStore(t)
	if _, err := s.Put(t.Context(), "translate", policyText(""), 0, "ada", ""); err != nil {
		t.Fatal(err)
	}
	// As a later version of the program would have written it.
	later := policyText("  schedule \"day\" {\n  }")
	raw, err := json.Marshal(record{Version: Version{Name: "translate", Version: 2, Text: later}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.HSet(t.Context(), keyCurrent, "translate", raw).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.client.LPush(t.Context(), keyVersions+"translate", raw).Err(); err != nil {
		t.Fatal(err)
	}
	var errs ValidationErrors
	if all, err := s.List(t.Context()); !errors.As(err, &errs) || all != nil {
		t.Errorf("List returned %v, %v, want an error", all, err)
	}
	v, err := s.Get(t.Context(), "translate")
	if !errors.As(err, &errs) || v.Text != later || v.Policy != nil {
		t.Errorf("Get returned %+v, %v, want the text and an error", v, err)
	}
	history, err := s.Versions(t.Context(), "translate")
	if err != nil || len(history) != 2 || history[0].Policy != nil || history[1].Policy == nil {
		t.Errorf("Versions returned %+v, %v", history, err)
	}

	// Others can be changed, and it can be put right.
	other := strings.NewReplacer(`"translate"`, `"other"`, "translate-apertium", "other", "/translate", "/other").Replace(policyText(""))
	if _, err := s.Put(t.Context(), "other", other, 0, "ada", ""); err != nil {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "translate", policyText(""), 2, "ada", ""); err != nil {
		t.Error(err)
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("List returned %v, %v", all, err)
	}
}

func TestAVersionIsParsedOnce(t *testing.T) {
	_, s := redisStore(t)
	if _, err := s.Put(t.Context(), "translate", policyText(""), 0, "ada", ""); err != nil {
		t.Fatal(err)
	}
	first, err := s.Get(t.Context(), "translate")
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.Policy != again[0].Policy {
		t.Error("the same version was parsed twice")
	}
	if _, err := s.Delete(t.Context(), "translate", 1, "ada", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.parsed) != 0 {
		t.Error("what is parsed of a deleted policy is kept")
	}
}
