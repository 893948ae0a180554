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
			[]string{keyCurrent, keyVersions + "a", keyCounter}, "a", raw, counter, maxVersions, changedChan, 0).Bool()
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

func TestADamagedRecordHidesNoOtherAndCanBeReplaced(t *testing.T) {
	other := strings.NewReplacer(`"translate"`, `"other"`, "translate-apertium", "other", "/translate", "/other").Replace(policyText(""))
	for name, raw := range map[string]string{"not JSON": "{", "another shape": `{"version":"two"}`, "another name": `{"name":"else","version":2}`, "empty": "{}"} {
		_, s := redisStore(t)
		for policy, text := range map[string]string{"translate": policyText(""), "other": other} {
			if _, err := s.Put(t.Context(), policy, text, 0, "ada", ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.client.HSet(t.Context(), keyCurrent, "translate", raw).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.client.LPush(t.Context(), keyVersions+"translate", raw).Err(); err != nil {
			t.Fatal(err)
		}
		var bad *UnreadableError
		all, err := s.List(t.Context())
		if !errors.As(err, &bad) || len(bad.Versions) != 1 || bad.Versions[0].Name != "translate" || len(all) != 1 || all[0].Name != "other" {
			t.Errorf("%s: List returned %v, %v", name, all, err)
		}
		if v, err := s.Get(t.Context(), "translate"); !errors.As(err, &bad) || v.Name != "translate" || v.Policy != nil {
			t.Errorf("%s: Get returned %+v, %v", name, v, err)
		}
		if history, err := s.Versions(t.Context(), "translate"); err != nil || len(history) != 2 || history[1].Policy == nil {
			t.Errorf("%s: Versions returned %+v, %v", name, history, err)
		}
		if _, err := s.Put(t.Context(), "translate", policyText(""), 0, "ada", ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if all, err := s.List(t.Context()); err != nil || len(all) != 2 {
			t.Errorf("%s: List returned %v, %v after it was replaced", name, all, err)
		}
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
