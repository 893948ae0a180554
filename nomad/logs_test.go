package nomad

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/pilotlight/pilotlight/jobs"
)

// fragile is the job of translate, restarted twice and then given up.
var fragile = strings.Replace(translate, "update {", `restart {
      attempts = 2
      delay    = "10s"
      mode     = "fail"
    }
    reschedule {
      unlimited      = true
      delay          = "1h"
      delay_function = "constant"
    }
    update {`, 1)

// logsVia answers the question for a log by answer.
func logsVia(answer func(w http.ResponseWriter, r *http.Request)) func(http.Handler) http.Handler {
	return func(double http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/client/fs/logs/") {
				answer(w, r)
				return
			}
			double.ServeHTTP(w, r)
		})
	}
}

// failed launches one allocation and lets its task crash until it is given up.
func (b *bubble) failed() jobs.Allocation {
	b.t.Helper()
	b.watch()
	b.ensure(parse(b.t, fragile), translateRef)
	b.scale(translateRef, 1)
	for crash := 0; crash < 3; crash++ {
		o := b.until(translateRef, "running", func(o jobs.Observation) bool {
			return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientRunning && o.Allocations[0].Restarts == crash
		})
		if err := b.double.Crash(o.Allocations[0].ID, 1); err != nil {
			b.t.Fatal(err)
		}
	}
	o := b.until(translateRef, "given up", func(o jobs.Observation) bool { return o.Allocations[0].Client == jobs.ClientFailed })
	time.Sleep(logTimeout)
	synctest.Wait()
	o = b.observe(translateRef)
	return o.Allocations[0]
}

func TestAFailureCarriesTheTasksLastLogLines(t *testing.T) {
	var asked atomic.Int32
	via := logsVia(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		q := r.URL.Query()
		if q.Get("task") != "engine" || q.Get("plain") != "true" || q.Get("origin") != "end" || q.Get("offset") == "" {
			t.Errorf("asked for %s", r.URL)
		}
		if q.Get("type") == "stderr" {
			_, _ = w.Write([]byte("one\ntwo\nthree\nfour\nfive\n\x1b[31mCUDA out of memory\x1b[0m\a\nbroken \xff\xfe text\n\n"))
		}
	})
	inBubbleVia(t, gpus(1), via, func(t *testing.T, b *bubble) {
		a := b.failed()
		want := "; last log: three | four | five | CUDA out of memory | broken \uFFFD text"
		if !strings.HasPrefix(a.Failure, "exit code 1, restarted 2 times; exceeded allowed attempts") || !strings.HasSuffix(a.Failure, want) {
			t.Errorf("got %q, want it to end in %q", a.Failure, want)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times, want once for an allocation", n)
		}
	})
}

func TestAFailureSaysWhetherItsLogLinesAreStillToCome(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"there are some": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("boom\n")) },
		"there are none": func(http.ResponseWriter, *http.Request) {},
		"no right":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Permission denied", 403) },
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			via := logsVia(func(w http.ResponseWriter, r *http.Request) {
				<-release
				answer(w, r)
			})
			inBubbleVia(t, gpus(1), via, func(t *testing.T, b *bubble) {
				b.watch()
				b.ensure(parse(b.t, strings.Replace(fragile, "attempts = 2", "attempts = 0", 1)), translateRef)
				b.scale(translateRef, 1)
				o := b.until(translateRef, "running", func(o jobs.Observation) bool {
					return len(o.Allocations) == 1 && o.Allocations[0].Client == jobs.ClientRunning
				})
				if err := b.double.Crash(o.Allocations[0].ID, 1); err != nil {
					t.Fatal(err)
				}
				o = b.until(translateRef, "given up", func(o jobs.Observation) bool { return o.Allocations[0].Client == jobs.ClientFailed })
				if a := o.Allocations[0]; !a.LogDue {
					t.Errorf("%q is said to be all, but the log has not been read", a.Failure)
				}
				close(release)
				o = b.until(translateRef, "its log read", func(o jobs.Observation) bool { return !o.Allocations[0].LogDue })
				if a := o.Allocations[0]; strings.Contains(a.Failure, "boom") != (name == "there are some") {
					t.Errorf("got %q", a.Failure)
				}
			})
		})
	}
}

func TestAnEmptyStderrIsReplacedByStdout(t *testing.T) {
	via := logsVia(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("type") == "stdout" {
			_, _ = w.Write([]byte("said on stdout\n"))
		}
	})
	inBubbleVia(t, gpus(1), via, func(t *testing.T, b *bubble) {
		if a := b.failed(); !strings.HasSuffix(a.Failure, "; last log: said on stdout") {
			t.Errorf("got %q", a.Failure)
		}
	})
}

func TestAFailureStandsWithoutItsLog(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"no right":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Permission denied", 403) },
		"collected":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Unknown allocation", 404) },
		"a frozen client": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"one that answers and then stops": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("half a l"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleVia(t, gpus(1), logsVia(answer), func(t *testing.T, b *bubble) {
				a := b.failed()
				if !strings.HasPrefix(a.Failure, "exit code 1, restarted 2 times; ") || strings.Contains(a.Failure, "log") {
					t.Errorf("got %q, want the failure without lines", a.Failure)
				}
			})
		})
	}
}

func TestAFrozenClientIsNotAskedForEveryLog(t *testing.T) {
	var asked atomic.Int32
	via := logsVia(func(_ http.ResponseWriter, r *http.Request) { asked.Add(1); <-r.Context().Done() })
	inBubbleVia(t, gpus(4), via, func(t *testing.T, b *bubble) {
		for _, a := range b.launched(4) {
			if err := b.double.Crash(a.ID, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(unreadable / 2)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

func TestWhatOthersWroteBecomesOneBoundedLineOfText(t *testing.T) {
	long := strings.Repeat("é", 3000)
	for in, want := range map[string]string{
		"plain":                                "plain",
		"tab\tand\r\nline":                     "tab and  line",
		"\x1b]0;title\x07\x1b[1;31mred\x1b[0m": "red",
		"nul\x00 and right-to-left \u202e":     "nul and right-to-left",
		"bad \xff utf-8":                       "bad \uFFFD utf-8",
	} {
		if got := clean(in, 100); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := clean(long, 101); len(got) > 101 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
}

func FuzzCleanIsValidBoundedAndOnOneLine(f *testing.F) {
	f.Add("a\x1b[3\nb\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := lastLines(s)
		if len(got) > logBytes || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x1b\x00") {
			t.Errorf("%q: got %q", s, got)
		}
	})
}
