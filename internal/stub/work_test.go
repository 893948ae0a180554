package stub

import (
	"context"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEachPartOfWorkSaysWhoWroteItAndForWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Replica: "a"})
		begun := time.Now()
		got := s.send(t.Context(), http.MethodPost, "/work?ms=300&parts=3&pad=5", "text/plain", "hello")
		if took := time.Since(begun); got.status != http.StatusOK || took != 300*time.Millisecond {
			t.Fatalf("%+v after %s, want 200 after 300ms", got, took)
		}
		lines := strings.Split(strings.TrimSpace(got.body), "\n")
		for i, line := range lines {
			part, err := ParsePart(line)
			if err != nil {
				t.Fatal(err)
			}
			want := Part{RequestID: "req-/work?ms=300&parts=3&pad=5", Execution: "a#1", Number: i + 1, Of: 3, Bytes: 5, Sum: crc32.ChecksumIEEE([]byte("hello"))}
			if diff := cmp.Diff(want, part); diff != "" {
				t.Error(diff)
			}
			if !strings.HasSuffix(line, " xxxxx") {
				t.Errorf("%q is not padded", line)
			}
		}
		if len(lines) != 3 {
			t.Errorf("%d parts, want 3", len(lines))
		}
		for _, query := range []string{"ms=x", "parts=0", "pad=-1", "ms=9999999"} {
			if got := s.send(t.Context(), http.MethodPost, "/work?"+query, "", ""); got.status != http.StatusBadRequest {
				t.Errorf("%s: %+v, want 400", query, got)
			}
		}
	})
}

func TestToldToItComputesOnForAClientThatHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{ComputeOn: true})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got := s.send(ctx, http.MethodPost, "/work?ms=1000&parts=4", "", ""); got.err == nil {
			t.Errorf("a whole answer to a client that has gone: %+v", got)
		}
		time.Sleep(899 * time.Millisecond)
		if stats := s.Stats(); stats.InFlight != 1 || stats.Cancelled != 0 {
			t.Errorf("stats: %+v; want one in flight", stats)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if stats := s.Stats(); stats.InFlight != 0 || stats.Finished != 1 || stats.Cancelled != 0 {
			t.Errorf("stats: %+v; want one finished", stats)
		}
	})
}
