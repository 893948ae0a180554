package nomad

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pilotlight/pilotlight/internal/nomaddouble"
	"github.com/pilotlight/pilotlight/jobs"
)

const scalePath = "/v1/job/translate/scale"

func TestEnsureRegistersAnUnknownJobAtCountZero(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, strings.Replace(translate, `group "server" {`, "group \"server\" {\n count = 2", 1)), translateRef)
		o := b.observe(translateRef)
		if o.Count != 0 || len(o.Allocations) != 0 {
			t.Errorf("got %+v, want count 0 and nothing running", o)
		}
		var sent struct {
			EnforceIndex   bool
			JobModifyIndex uint64
			Submission     struct{ Source, Format string }
		}
		calls := b.double.Calls("PUT", "/v1/jobs")
		if len(calls) != 1 {
			t.Fatalf("got %d registrations, want 1", len(calls))
		}
		if err := json.Unmarshal(calls[0].Body, &sent); err != nil {
			t.Fatal(err)
		}
		if !sent.EnforceIndex || sent.JobModifyIndex != 0 {
			t.Errorf("registration is not compared and set: %+v", sent)
		}
		if sent.Submission.Format != "hcl2" || !strings.Contains(sent.Submission.Source, `job "translate"`) {
			t.Errorf("the source was not submitted: %+v", sent.Submission)
		}
	})
}

func TestTwoProcessesThatEnsureAtOnceRegisterOnce(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		release := b.double.Hang(2, "PUT", "/v1/jobs/parse") // both have seen that it is unknown
		other := b.another()
		s := parse(t, translate)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, f := range []*Fleet{b.Fleet, other} {
			wg.Go(func() { errs[i] = f.Ensure(t.Context(), s, translateRef, false) })
		}
		synctest.Wait()
		release()
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if n := len(b.double.Calls("PUT", "/v1/jobs")); n != 2 {
			t.Fatalf("got %d tries to register, want 2: the test did not make them meet", n)
		}
		if diff := cmp.Diff([]uint64{0}, versions(t, b)); diff != "" {
			t.Errorf("versions of the job (-want +got):\n%s", diff)
		}
	})
}

// scaleCalls returns the scale calls that set a count.
func scaleCalls(b *bubble) []nomaddouble.Call {
	return slices.DeleteFunc(b.double.Calls("PUT", scalePath), func(c nomaddouble.Call) bool {
		return !bytes.Contains(c.Body, []byte(`"Count":`)) || bytes.Contains(c.Body, []byte(`"Count":null`))
	})
}

// versions returns the version of the one job there is.
func versions(t *testing.T, b *bubble) []uint64 {
	t.Helper()
	job, _, err := b.client.Jobs().Info("translate", nil)
	if err != nil {
		t.Fatal(err)
	}
	return []uint64{*job.Version}
}

func TestEnsureNeverCreatesAPurgedJobAgain(t *testing.T) {
	for _, watched := range []bool{false, true} {
		name := map[bool]string{false: "asked", true: "watched"}[watched]
		t.Run(name, func(t *testing.T) {
			inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
				if watched {
					b.watch()
				}
				s := parse(t, translate)
				b.ensure(s, translateRef)
				b.observe(translateRef)
				b.double.Purge("default", "translate")
				synctest.Wait()
				err := b.Ensure(t.Context(), s, translateRef, false)
				if !errors.Is(err, jobs.ErrPurged) || !errors.Is(err, jobs.ErrUnknownJob) {
					t.Errorf("ensure: got %v, want jobs.ErrPurged, an jobs.ErrUnknownJob", err)
				}
				if _, err := b.Observe(t.Context(), translateRef); !errors.Is(err, jobs.ErrPurged) {
					t.Errorf("observe: got %v, want jobs.ErrPurged", err)
				}
				if err := b.Scale(t.Context(), translateRef, 1, "", nil); !errors.Is(err, jobs.ErrPurged) {
					t.Errorf("scale: got %v, want jobs.ErrPurged", err)
				}
				if n := len(b.double.Calls("PUT", "/v1/jobs")); n != 1 {
					t.Errorf("got %d registrations, want the first only", n)
				}
			})
		})
	}
}

func TestAnOperatorMayRegisterAPurgedJobAgain(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		s := parse(t, translate)
		b.ensure(s, translateRef)
		b.double.Purge("default", "translate")
		synctest.Wait()
		if err := b.another().Ensure(t.Context(), s, translateRef, false); err != nil { // somebody who never knew it
			t.Fatal(err)
		}
		synctest.Wait()
		if o := b.observe(translateRef); o.Count != 0 {
			t.Errorf("got count %d, want 0", o.Count)
		}
		b.scale(translateRef, 1)
	})
}

func TestAStoppedJobIsSaidToBeAndLeftAlone(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.watch()
		s := parse(t, translate)
		b.ensure(s, translateRef)
		if _, _, err := b.client.Jobs().Deregister("translate", false, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := b.Ensure(t.Context(), s, translateRef, false); err != nil {
			t.Errorf("ensure: got %v, want nothing: it is known", err)
		}
		if err := b.Scale(t.Context(), translateRef, 1, "", nil); !errors.Is(err, jobs.ErrStopped) {
			t.Errorf("scale: got %v, want jobs.ErrStopped", err)
		}
		if o := b.observe(translateRef); !strings.Contains(o.Stopped, "nomad job start translate") || o.Change != nil {
			t.Errorf("got %+v, want that it is stopped, what starts it again, and no other change", o)
		}
		if n := len(scaleCalls(b)); n != 0 {
			t.Errorf("got %d scale calls, want none", n)
		}
	})
}

func TestEnsureRefusesWhatCannotBeScaled(t *testing.T) {
	for _, c := range []struct {
		name, source string
		ref          jobs.Ref
		want         error
	}{
		{"a group that is not in the job", translate, jobs.Ref{Namespace: "default", Job: "translate", Group: "nope"}, jobs.ErrUnknownGroup},
		{"a job that is no service", strings.Replace(translate, `group "server"`, "type = \"batch\"\n group \"server\"", 1), translateRef, jobs.ErrWrongType},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
				if err := b.Ensure(t.Context(), parse(t, c.source), c.ref, false); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestEnsureOfASpecThatNomadCannotParseSaysWhereAndDoesNotRetry(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		s := parse(t, translate)
		s.Source = `job "translate" {`
		err := b.Ensure(t.Context(), s, translateRef, false)
		if err == nil || !strings.Contains(err.Error(), "Failed to parse job") {
			t.Errorf("got %v, want Nomad's own words", err)
		}
		if n := len(b.double.Calls("PUT", "/v1/jobs/parse")); n != 1 {
			t.Errorf("got %d tries, want 1", n)
		}
	})
}

func TestScaleTellsNomadWhyAndComparesTheIndex(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 2)
		calls := scaleCalls(b)
		if len(calls) != 1 {
			t.Fatalf("got %d scale calls, want 1", len(calls))
		}
		var sent struct {
			Count          int
			Target         map[string]string
			Message        string
			Meta           map[string]any
			JobModifyIndex uint64
		}
		if err := json.Unmarshal(calls[0].Body, &sent); err != nil {
			t.Fatal(err)
		}
		if sent.JobModifyIndex == 0 {
			t.Error("the scale is not compared with the job's index")
		}
		sent.JobModifyIndex = 0
		want := sent
		want.Count, want.Target, want.Message = 2, map[string]string{"Group": "server"}, "a test wants it"
		want.Meta = map[string]any{"decision": "d-1", "pilotlight": "version 1"}
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("scale call (-want +got):\n%s", diff)
		}
	})
}

func TestScaleToTheSameCountIsNoCall(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		b.scale(translateRef, 0)
		b.scale(translateRef, 1)
		b.scale(translateRef, 1)
		if n := len(scaleCalls(b)); n != 1 {
			t.Errorf("got %d scale calls, want 1", n)
		}
	})
}

func TestAScaleThatLosesTheRaceIsNotSentAgainButDecidedAnew(t *testing.T) {
	for _, c := range []struct {
		who   string
		scale func(t *testing.T, b *bubble, count int)
		told  bool // as a change
	}{
		{"an operator", byHand, true},
		{"another leader", func(t *testing.T, b *bubble, count int) {
			if err := b.another().Scale(t.Context(), translateRef, count, "theirs", nil); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(c.who, func(t *testing.T) {
			inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
				b.watch()
				b.ensure(parse(t, translate), translateRef)
				b.until(translateRef, "the job", func(o jobs.Observation) bool { return o.Count == 0 })

				release := b.double.Hang(1, "PUT", scalePath) // ours is on its way with the old index
				done := make(chan error, 1)
				go func() { done <- b.Scale(t.Context(), translateRef, 3, "ours", nil) }()
				synctest.Wait()
				c.scale(t, b, 1)
				release()
				if err := <-done; !errors.Is(err, jobs.ErrChanged) {
					t.Fatalf("got %v, want jobs.ErrChanged", err)
				}
				o := b.observe(translateRef)
				if o.Count != 1 || (o.Change != nil) != c.told {
					t.Errorf("got count %d and change %+v", o.Count, o.Change)
				}
				b.scale(translateRef, 3)
				if n := len(scaleCalls(b)); n != 3 {
					t.Errorf("got %d scale calls, want theirs, our lost one and our next", n)
				}
			})
		})
	}
}

func TestTheSameCountSetByAnOperatorFirstIsTold(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		b.until(translateRef, "the job", func(o jobs.Observation) bool { return o.Count == 0 })
		release := b.double.Hang(1, "PUT", scalePath)
		done := make(chan error, 1)
		go func() { done <- b.Scale(t.Context(), translateRef, 2, "ours", nil) }()
		synctest.Wait()
		byHand(t, b, 2)
		release()
		if err := <-done; err != nil {
			t.Errorf("got %v, want nothing: the count is as wanted", err)
		}
		if o := b.observe(translateRef); o.Count != 2 || o.Change == nil {
			t.Errorf("got count %d and change %+v, want it told as theirs", o.Count, o.Change)
		}
	})
}

// byHand scales as nomad job scale does.
func byHand(t *testing.T, b *bubble, count int) {
	t.Helper()
	if _, _, err := b.client.Jobs().Scale("translate", "server", &count, "by hand", false, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func TestALostCompareIsNotTriedAgainOnTheSamePicture(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.watch()
		b.ensure(parse(t, translate), translateRef)
		synctest.Wait()
		before := len(b.double.Calls("GET", "/v1/job/translate"))
		b.double.Fail(1, "PUT", scalePath, 500, "Enforcing job modify index 5: job exists with conflicting job modify index: 6")
		b.scale(translateRef, 1) // no event tells of anything new
		if n := len(b.double.Calls("GET", "/v1/job/translate")) - before; n != 1 {
			t.Errorf("the job was read %d times, want once, after the lost compare", n)
		}
	})
}

func TestOnlyOneScaleOfAJobIsInFlight(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		release := b.double.Hang(1, "PUT", scalePath)
		var wg sync.WaitGroup
		for _, n := range []int{1, 2, 3} {
			wg.Go(func() { b.scale(translateRef, n) })
		}
		synctest.Wait()
		if n := len(scaleCalls(b)); n != 1 {
			t.Errorf("got %d scale calls at once, want 1", n)
		}
		release()
		wg.Wait()
		if n := len(scaleCalls(b)); n != 3 {
			t.Errorf("got %d scale calls in all, want 3, none lost to a conflict", n)
		}
	})
}

func TestScaleRetriesWhatPassesByItself(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		b.double.Fail(2, "PUT", scalePath, 500, "No cluster leader")
		b.scale(translateRef, 1)
		if n := len(scaleCalls(b)); n != 3 {
			t.Errorf("got %d scale calls, want 3", n)
		}
	})
}

func TestScaleGivesUpOnACallThatHangs(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		release := b.double.Hang(100, "PUT", scalePath)
		defer release()
		began := time.Now()
		if err := b.Scale(t.Context(), translateRef, 1, "", nil); err == nil {
			t.Error("got no error of a call that was never answered")
		}
		if took := time.Since(began); took > scaleTimeout {
			t.Errorf("gave up after %v, want at most %v", took, scaleTimeout)
		}
	})
}

func TestAScaleWhoseAnswerWasLostIsNotDoneTwice(t *testing.T) {
	inBubble(t, gpus(2), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, translate), translateRef)
		release := b.double.Hang(1, "PUT", scalePath)
		done := make(chan error, 1)
		go func() { done <- b.Scale(t.Context(), translateRef, 1, "", nil) }()
		synctest.Wait()
		// What the hanging call would have done, done by the time it is given up.
		if err := b.another().Scale(t.Context(), translateRef, 1, "", nil); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("got %v, want it to be seen as done", err)
		}
		release()
		synctest.Wait() // the late call has lost its compare
		if v := versions(t, b); v[0] != 1 {
			t.Errorf("got version %d, want 1: one scale", v[0])
		}
	})
}

func TestAScaleThatADeploymentBlocksSaysSo(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		b.ensure(parse(t, strings.Replace(translate, "max_parallel = 0", "max_parallel = 1", 1)), translateRef)
		b.scale(translateRef, 1)
		time.Sleep(100 * time.Millisecond) // until the evaluation has made the deployment
		err := b.Scale(t.Context(), translateRef, 2, "", nil)
		blocked, ok := errors.AsType[*jobs.DeploymentError](err)
		if !ok {
			t.Fatalf("got %v, want a jobs.DeploymentError", err)
		}
		if blocked.Ref != translateRef || blocked.Message != "job scaling blocked due to active deployment" {
			t.Errorf("got %+v", blocked)
		}
		time.Sleep(nomaddouble.DefaultDelays().Deployment)
		b.scale(translateRef, 2)
	})
}

func TestScaleOfAJobOutsideItsOwnBoundsIsRefusedOnce(t *testing.T) {
	inBubble(t, gpus(4), func(t *testing.T, b *bubble) {
		bounded := strings.Replace(translate, "update {", "scaling {\n min = 0\n max = 2\n }\n update {", 1)
		b.ensure(parse(t, bounded), translateRef)
		err := b.Scale(t.Context(), translateRef, 3, "", nil)
		if err == nil || !strings.Contains(err.Error(), "group count was greater than scaling policy maximum: 3 > 2") {
			t.Errorf("got %v, want Nomad's own words", err)
		}
		if n := len(scaleCalls(b)); n != 1 {
			t.Errorf("got %d scale calls, want 1", n)
		}
	})
}
