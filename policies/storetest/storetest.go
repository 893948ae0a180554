// Package storetest is the conformance suite of policies.Store: whatever keeps
// policies passes the same cases. An implementation calls Run from a test of its
// own. Cases wait for the store's own reports, never for the clock: a store that
// forgets to report a change fails by deadline.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/policies"
)

// keeps is the number of versions of one policy that a store must keep, and
// beyond which it forgets the oldest.
const keeps = 500

// deadline of one wait; it bounds a failing case and costs a passing one nothing.
const deadline = 20 * time.Second

// Store is what the suite needs of a store beside its contract.
type Store interface {
	policies.Store
	// Plant stores v as the newest version, whatever its text: as another version
	// of the program would have. Watch need not report it.
	Plant(ctx context.Context, v policies.Version) error
}

// Run runs the suite. open returns two handles on one fresh and empty store, as
// two processes would have; they may be the same one.
func Run(t *testing.T, open func(t *testing.T) (Store, Store)) {
	for name, test := range map[string]func(t *testing.T, s, other Store){
		"AnEmptyStoreHasNothing":                      empty,
		"WhatIsPutIsReadAsItWasWritten":               putAndRead,
		"AListIsByName":                               list,
		"AWrongTextIsRefusedWithItsErrors":            wrongText,
		"APolicyIsCreatedOnce":                        createdOnce,
		"AnEditOfAnOlderVersionIsAConflict":           conflict,
		"ADeletedPolicyIsGoneButItsHistoryStays":      deleted,
		"ADeletedPolicyIsCreatedAgainUnderANewNumber": createdAgain,
		"TwoPoliciesMayNotTakeTheSameRequests":        routes,
		"TwoPoliciesMayNotRunTheSameJob":              jobs,
		"ATextThatIsNotValidHereHidesNoOther":         unreadable,
		"ATextThatIsNotValidHereCanBePutRight":        putRight,
		"OfManyEditsAtOnceOneWins":                    race,
		"OfManyPoliciesWithOneRouteOneWins":           routeRace,
		"TheOldestVersionsAreForgotten":               bounded,
		"AWatcherHearsOfEveryChange":                  watch,
		"AnEndedContextEndsACall":                     ended,
	} {
		t.Run(name, func(t *testing.T) {
			s, other := open(t)
			test(t, s, other)
		})
	}
}

// text is a policy of that name which runs a job and routes a model of its own.
func text(name, lines string) string {
	return fmt.Sprintf("# about %s\npolicy %q {\n  job = %q # it runs\n  route { models = [%q] }\n%s\n}\n", name, name, "job-"+name, "model-"+name, lines)
}

func put(t *testing.T, s policies.Store, name, text string, base int) policies.Version {
	t.Helper()
	v, err := s.Put(t.Context(), name, text, base, "ada", "why")
	if err != nil {
		t.Fatalf("put %s on version %d: %v", name, base, err)
	}
	return v
}

func get(t *testing.T, s policies.Store, name string) policies.Version {
	t.Helper()
	v, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return v
}

// names of the listed policies, with their versions: "a:1 b:3".
func names(t *testing.T, s policies.Store) string {
	t.Helper()
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	var found []string
	for _, v := range all {
		found = append(found, fmt.Sprintf("%s:%d", v.Name, v.Version))
	}
	return strings.Join(found, " ")
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func isNotFound(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, policies.ErrNotFound) {
		t.Fatalf("the error is %v, want ErrNotFound", err)
	}
}

func empty(t *testing.T, s, _ Store) {
	equal(t, "", names(t, s))
	_, err := s.Get(t.Context(), "a")
	isNotFound(t, err)
	_, err = s.Versions(t.Context(), "a")
	isNotFound(t, err)
	_, err = s.Delete(t.Context(), "a", 1, "ada", "")
	isNotFound(t, err)
	_, err = s.Put(t.Context(), "a", text("a", ""), 3, "ada", "")
	var c *policies.ConflictError
	if !errors.As(err, &c) || c.Name != "a" || c.Base != 3 || c.Current.Version != 0 {
		t.Fatalf("an edit of a policy that is not there: %v", err)
	}
}

func putAndRead(t *testing.T, s, other Store) {
	before := time.Now().Add(-time.Second)
	written := text("a", "  replicas { max = 3 }  # é \"quoted\"\n\n")
	saved, err := s.Put(t.Context(), "a", written, 0, "ada", "first: \"it\" works")
	if err != nil {
		t.Fatal(err)
	}
	if saved.At.Before(before) || saved.At.After(time.Now().Add(time.Second)) || saved.At.Location() != time.UTC {
		t.Errorf("saved at %v", saved.At)
	}
	policy := policies.New("a")
	policy.Job, policy.Route.Models, policy.Replicas.Max = "job-a", []string{"model-a"}, 3
	equal(t, policies.Version{
		Name: "a", Version: 1, Author: "ada", Comment: "first: \"it\" works", At: saved.At, Text: written, Policy: policy,
	}, saved)

	for _, handle := range []Store{s, other} {
		equal(t, saved, get(t, handle, "a"))
		all, err := handle.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, []policies.Version{saved}, all)
	}
	second := put(t, other, "a", text("a", "  replicas { max = 4 }"), 1)
	equal(t, second, get(t, s, "a"))
	if second.Version != 2 || second.Policy.Replicas.Max != 4 {
		t.Fatalf("the second version is %+v", second)
	}
	history, err := s.Versions(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, []policies.Version{second, saved}, history)
}

func list(t *testing.T, s, _ Store) {
	for _, name := range []string{"b", "c", "a", "a-b", "a0"} {
		put(t, s, name, text(name, ""), 0)
	}
	put(t, s, "b", text("b", ""), 1)
	equal(t, "a:1 a-b:1 a0:1 b:2 c:1", names(t, s))
}

func wrongText(t *testing.T, s, _ Store) {
	put(t, s, "a", text("a", ""), 0)
	for _, test := range []struct {
		text  string
		line  int
		field string
	}{
		{text("a", "  replicas { max = 0 }"), 5, "replicas.max"},
		{text("b", ""), 2, "name"},
		{text("a", "") + text("b", ""), 8, ""},
		{"# nothing", 1, ""},
	} {
		_, err := s.Put(t.Context(), "a", test.text, 1, "ada", "")
		var errs policies.ValidationErrors
		if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Line != test.line || errs[0].Field != test.field {
			t.Errorf("put\n%s: the error is %v, want one in line %d about %q", test.text, err, test.line, test.field)
		}
	}
	equal(t, "a:1", names(t, s))
	equal(t, text("a", ""), get(t, s, "a").Text)
}

func createdOnce(t *testing.T, s, other Store) {
	first := put(t, s, "a", text("a", ""), 0)
	_, err := other.Put(t.Context(), "a", text("a", "  replicas { max = 2 }"), 0, "bob", "")
	if !errors.Is(err, policies.ErrExists) {
		t.Fatalf("the error is %v, want ErrExists", err)
	}
	equal(t, first, get(t, other, "a"))
}

func conflict(t *testing.T, s, other Store) {
	put(t, s, "a", text("a", ""), 0)
	winner := put(t, s, "a", text("a", "  replicas { max = 2 }"), 1)
	_, putErr := other.Put(t.Context(), "a", text("a", "  replicas { max = 3 }"), 1, "bob", "")
	_, deleteErr := other.Delete(t.Context(), "a", 1, "bob", "")
	for _, err := range []error{putErr, deleteErr} {
		var c *policies.ConflictError
		if !errors.As(err, &c) {
			t.Fatalf("the error is %v, want a ConflictError", err)
		}
		equal(t, policies.ConflictError{Name: "a", Base: 1, Current: winner}, *c)
	}
	_, err := other.Put(t.Context(), "a", text("a", ""), 3, "bob", "")
	var c *policies.ConflictError
	if !errors.As(err, &c) {
		t.Fatalf("an edit of a version to come: %v", err)
	}
	equal(t, winner, get(t, s, "a"))
}

func deleted(t *testing.T, s, other Store) {
	first := put(t, s, "a", text("a", ""), 0)
	put(t, s, "b", text("b", ""), 0)
	gone, err := s.Delete(t.Context(), "a", 1, "bob", "not needed")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, policies.Version{Name: "a", Version: 2, Author: "bob", Comment: "not needed", At: gone.At, Deleted: true}, gone)
	for _, handle := range []Store{s, other} {
		equal(t, "b:1", names(t, handle))
		_, err = handle.Get(t.Context(), "a")
		isNotFound(t, err)
		history, err := handle.Versions(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, []policies.Version{gone, first}, history)
	}
	_, err = s.Delete(t.Context(), "a", 2, "bob", "")
	isNotFound(t, err)
	_, err = s.Put(t.Context(), "a", text("a", ""), 1, "ada", "")
	var c *policies.ConflictError
	if !errors.As(err, &c) {
		t.Fatalf("an edit of a policy that was deleted meanwhile: %v", err)
	}
	equal(t, gone, c.Current)
}

func createdAgain(t *testing.T, s, _ Store) {
	put(t, s, "a", text("a", ""), 0)
	if _, err := s.Delete(t.Context(), "a", 1, "ada", ""); err != nil {
		t.Fatal(err)
	}
	again := put(t, s, "a", text("a", ""), 0)
	equal(t, 3, again.Version)
	equal(t, "a:3", names(t, s))
	history, err := s.Versions(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, 3, len(history))
}

func routes(t *testing.T, s, other Store) {
	clash := strings.ReplaceAll(text("b", ""), "model-b", "model-a")
	put(t, s, "a", text("a", ""), 0)
	_, err := other.Put(t.Context(), "b", clash, 0, "ada", "")
	var errs policies.ValidationErrors
	if !errors.As(err, &errs) {
		t.Fatalf("the error is %v, want ValidationErrors", err)
	}
	equal(t, `line 4: route.models: "model-a" is routed by policy "a" already; allowed: what no other policy routes`, errs.Error())
	equal(t, "a:1", names(t, s))

	put(t, s, "a", text("a", "  replicas { max = 2 }"), 1) // its own route is no clash
	if _, err := s.Delete(t.Context(), "a", 2, "ada", ""); err != nil {
		t.Fatal(err)
	}
	put(t, other, "b", clash, 0) // nobody's any more
	if _, err := s.Put(t.Context(), "a", text("a", ""), 0, "ada", ""); !errors.As(err, &errs) {
		t.Fatalf("the deleted policy got its route back: %v", err)
	}
}

func jobs(t *testing.T, s, other Store) {
	twin := strings.ReplaceAll(text("b", ""), "job-b", "job-a")
	put(t, s, "a", text("a", ""), 0)
	_, err := other.Put(t.Context(), "b", twin, 0, "ada", "")
	var errs policies.ValidationErrors
	if !errors.As(err, &errs) {
		t.Fatalf("the error is %v, want ValidationErrors", err)
	}
	equal(t, `line 3: job: "job-a" in namespace "default" is run by policy "a" already; allowed: a job, or a group of it, that no other policy runs`, errs.Error())
	equal(t, "a:1", names(t, s))

	put(t, s, "a", text("a", "  replicas { max = 2 }"), 1) // its own job is no clash
	if _, err := s.Delete(t.Context(), "a", 2, "ada", ""); err != nil {
		t.Fatal(err)
	}
	put(t, other, "b", twin, 0) // nobody's any more
}

// plant makes the newest version of a policy one that says what no version of
// the program does yet.
func plant(t *testing.T, s Store, name string, version int) policies.Version {
	t.Helper()
	v := policies.Version{
		Name: name, Version: version, Author: "eve", Comment: "newer", At: time.Now().UTC().Truncate(time.Microsecond),
		Text: text(name, "  later = true"),
	}
	if err := s.Plant(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func isUnreadable(t *testing.T, err error, want ...policies.Version) {
	t.Helper()
	var bad *policies.UnreadableError
	if !errors.As(err, &bad) {
		t.Fatalf("the error is %v, want an UnreadableError", err)
	}
	equal(t, want, bad.Versions)
	for _, v := range want {
		if says := fmt.Sprintf("version %d of policy %s is not valid here: line 5: later: is unknown", v.Version, v.Name); !strings.Contains(err.Error(), says) {
			t.Errorf("the error is %v, want it to say %s", err, says)
		}
	}
	var errs policies.ValidationErrors
	if !errors.As(err, &errs) || errs[0].Field != "later" {
		t.Errorf("the error is %v, want the errors of the text in it", err)
	}
}

func unreadable(t *testing.T, s, other Store) {
	first := put(t, s, "a", text("a", ""), 0)
	put(t, s, "b", text("b", ""), 0)
	put(t, s, "c", text("c", ""), 0)
	get(t, other, "b") // whatever is kept of it must not be taken for what is stored
	c, b := plant(t, s, "c", 2), plant(t, s, "b", 2)
	for _, handle := range []Store{s, other} {
		all, err := handle.List(t.Context())
		equal(t, []policies.Version{first}, all)
		isUnreadable(t, err, b, c)
		v, err := handle.Get(t.Context(), "b")
		equal(t, b, v)
		isUnreadable(t, err, b)
		history, err := handle.Versions(t.Context(), "b")
		if err != nil || len(history) != 2 || history[1].Policy == nil {
			t.Fatalf("the versions are %+v, %v", history, err)
		}
		equal(t, b, history[0])
	}
	put(t, other, "a", text("a", ""), 1)
	put(t, other, "d", text("d", ""), 0)
}

func putRight(t *testing.T, s, other Store) {
	for _, name := range []string{"a", "b", "c"} {
		put(t, s, name, text(name, ""), 0)
		plant(t, s, name, 2)
	}
	put(t, other, "a", text("a", ""), 2)
	if _, err := other.Delete(t.Context(), "b", 2, "ada", ""); err != nil {
		t.Fatal(err)
	}
	_, err := other.Put(t.Context(), "c", text("c", ""), 1, "ada", "")
	var conflict *policies.ConflictError
	if !errors.As(err, &conflict) || conflict.Current.Version != 2 {
		t.Fatalf("an edit of the version before: %v", err)
	}
	put(t, other, "c", text("c", ""), 2)
	equal(t, "a:3 c:3", names(t, s))
}

// together runs several calls at once and returns how many of them succeeded;
// what the others return goes to failed.
func together(n int, call func(i int) error, failed func(err error)) int {
	errs := make([]error, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() { errs[i] = call(i) })
	}
	calls.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			failed(err)
		}
	}
	return won
}

func race(t *testing.T, s, other Store) {
	put(t, s, "a", text("a", ""), 0)
	handles := []Store{s, other}
	for base := 1; base <= 5; base++ {
		won := together(8, func(i int) error {
			_, err := handles[i%2].Put(t.Context(), "a", text("a", fmt.Sprintf("  replicas { max = %d }", i+1)), base, "ada", "")
			return err
		}, func(err error) {
			var c *policies.ConflictError
			if !errors.As(err, &c) {
				t.Errorf("the error is %v, want a ConflictError", err)
			} else if c.Current.Version != base+1 {
				t.Errorf("the winner's version is said to be %d, want %d", c.Current.Version, base+1)
			}
		})
		equal(t, 1, won)
	}
	equal(t, "a:6", names(t, s))
	history, err := s.Versions(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, 6, len(history))
}

func routeRace(t *testing.T, s, other Store) {
	handles := []Store{s, other}
	won := together(8, func(i int) error {
		name := fmt.Sprintf("p%d", i)
		_, err := handles[i%2].Put(t.Context(), name, strings.ReplaceAll(text(name, ""), "model-"+name, "one"), 0, "ada", "")
		return err
	}, func(err error) {
		var errs policies.ValidationErrors
		if !errors.As(err, &errs) {
			t.Errorf("the error is %v, want ValidationErrors", err)
		}
	})
	equal(t, 1, won)
	won = together(8, func(i int) error {
		name := fmt.Sprintf("q%d", i)
		_, err := handles[i%2].Put(t.Context(), name, text(name, ""), 0, "ada", "")
		return err
	}, func(err error) { t.Errorf("policies that have nothing to do with each other: %v", err) })
	equal(t, 8, won)
}

func bounded(t *testing.T, s, _ Store) {
	for base := range keeps + 2 {
		put(t, s, "a", text("a", ""), base)
	}
	history, err := s.Versions(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, keeps, len(history))
	equal(t, keeps+2, history[0].Version)
	equal(t, 3, history[keeps-1].Version)
	equal(t, fmt.Sprintf("a:%d", keeps+2), names(t, s))
}

func watch(t *testing.T, s, other Store) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	told := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, func() {
			select {
			case told <- struct{}{}:
			default:
			}
		})
	}()
	// until waits for reports until the store lists what it should.
	until := func(want string) {
		t.Helper()
		for {
			select {
			case <-told:
				if names(t, s) == want {
					return
				}
			case <-ctx.Done():
				t.Fatalf("no report after which the list is %q; it is %q", want, names(t, s))
			}
		}
	}
	until("")
	put(t, other, "a", text("a", ""), 0)
	until("a:1")
	put(t, s, "a", text("a", ""), 1)
	until("a:2")
	put(t, other, "b", text("b", ""), 0)
	until("a:2 b:1")
	if _, err := other.Delete(t.Context(), "a", 2, "ada", ""); err != nil {
		t.Fatal(err)
	}
	until("b:1")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch ended with %v, want nil", err)
	}
}

func ended(t *testing.T, s, _ Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := s.Put(ctx, "a", text("a", ""), 0, "ada", "")
	_, deleteErr := s.Delete(ctx, "a", 0, "ada", "")
	_, getErr := s.Get(ctx, "a")
	_, listErr := s.List(ctx)
	_, versionsErr := s.Versions(ctx, "a")
	for name, err := range map[string]error{"Put": putErr, "Delete": deleteErr, "Get": getErr, "List": listErr, "Versions": versionsErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the error is %v, want context.Canceled", name, err)
		}
	}
	equal(t, "", names(t, s))
}
