package front

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// read takes so many bytes each second, until nothing more comes.
func (c *client) slowly(bytes int) (total int) {
	buf := make([]byte, bytes)
	for {
		n, err := io.ReadFull(c.r, buf)
		total += n
		if err != nil {
			return total
		}
		time.Sleep(time.Second)
	}
}

func TestAClientThatReadsTooSlowlyIsCutOffAndOneThatKeepsThePaceIsNot(t *testing.T) {
	const size = 256 << 10
	for _, test := range []struct {
		bytesPerSecond int
		whole          bool
	}{{300, true}, {200, false}, {1, false}} {
		t.Run(fmt.Sprint(test.bytesPerSecond, " bytes a second"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				type end struct {
					err  error
					took time.Duration
				}
				ended := make(chan end, 1)
				x := newHouse(t, Config{Max: 1}, func(w http.ResponseWriter, r *http.Request) {
					begun := time.Now()
					var err error
					for i := 0; err == nil && i < size/4096; i++ {
						_, err = w.Write(make([]byte, 4096))
					}
					ended <- end{err, time.Since(begun)}
				})
				c := x.dial()
				go func() { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") }()
				got := c.slowly(test.bytesPerSecond)
				e := <-ended
				if test.whole {
					if e.err != nil || got < size {
						t.Errorf("cut off after %d bytes: %v", got, e.err)
					}
					return
				}
				// What it was too slow by is at most its grace.
				if most := 5 * time.Minute; !errors.Is(e.err, os.ErrDeadlineExceeded) || e.took > most {
					t.Errorf("after %v and %d bytes: %v", e.took, got, e.err)
				}
			})
		})
	}
}

func TestAClientWithoutAnyWindowIsCutOffWhereverItIsWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHouse(t, Config{Max: 1}, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it must not end the pace
			_, _ = w.Write(make([]byte, 100))                               // flushed by the server, after the handler
		})
		c := x.dial()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := x.conns.Open(); n != 0 {
			t.Errorf("%d connections are kept by a client that reads nothing", n)
		}
	})
}

func TestOurOwnWriteDeadlineHoldsBesideThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := net.Pipe()
		defer func() { _ = mine.Close() }()
		c := NewConnections(Config{Max: 1}).admit(theirs, time.Now())
		begun := time.Now()
		_ = c.SetWriteDeadline(begun.Add(time.Second))
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		_ = c.SetWriteDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, mine) }()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("once it is taken away: %v", err)
		}
		// One that comes while it writes ends the write: that is how a slot is taken
		// from a client that does not read.
		mine2, theirs2 := net.Pipe()
		defer func() { _ = mine2.Close() }()
		c = NewConnections(Config{Max: 1}).admit(theirs2, time.Now())
		time.AfterFunc(3*time.Second, func() { _ = c.SetWriteDeadline(time.Now()) })
		begun = time.Now()
		if _, err := c.Write([]byte("x")); err == nil || time.Since(begun) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestABodyHasToKeepThePace(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes int
		every time.Duration
		fails bool
	}{
		{"300 bytes a second", 300, time.Second, false},
		{"3000 bytes every ten seconds", 3000, 10 * time.Second, false},
		{"a byte every 14 seconds", 1, 14 * time.Second, true},
		{"100 bytes a second", 100, time.Second, true},
		{"nothing", 1, time.Hour, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 30_000
				x := newHouse(t, Config{Max: 1}, func(w http.ResponseWriter, r *http.Request) {
					begun := time.Now()
					n, err := io.Copy(io.Discard, NewBody(w, r.Body, DefaultPace))
					switch took := time.Since(begun); {
					case !test.fails && err != nil:
						t.Errorf("cut off after %d bytes, %v: %v", n, took, err)
					case test.fails && !errors.Is(err, os.ErrDeadlineExceeded):
						t.Errorf("%d bytes after %v: %v", n, took, err)
					case test.fails && took > time.Minute:
						t.Errorf("cut off only after %v", took)
					}
					if !test.fails { // the server must be able to see it leave for as long as it takes
						time.Sleep(time.Hour)
						if r.Context().Err() != nil {
							t.Error("a deadline of the body was left in force")
						}
					}
				})
				c := x.dial()
				_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
				go func() { _, _ = io.Copy(io.Discard, c.r) }()
				for sent := 0; sent < size; sent += test.bytes {
					time.Sleep(test.every)
					if _, err := c.Write(make([]byte, min(test.bytes, size-sent))); err != nil {
						return
					}
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

func TestABodyThatNobodyReadsKeepsItsConnectionForTheGraceAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHouse(t, Config{Max: 1}, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no such thing", http.StatusNotFound)
		})
		c := x.dial()
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab")
		begun := time.Now()
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil || resp.StatusCode != 404 || time.Since(begun) > DefaultPace.Grace {
			t.Errorf("%v %v after %v", resp, err, time.Since(begun))
		}
		if took := time.Since(begun); took > DefaultPace.Grace {
			t.Errorf("answered after %v", took)
		}
		_, _ = io.Copy(io.Discard, c.r)
		if n := x.conns.Open(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestPipelinedRequestsAreAnsweredOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 500
		atOnce, most := 0, 0
		x := newHouse(t, Config{Max: 1}, func(w http.ResponseWriter, r *http.Request) {
			atOnce++
			most = max(most, atOnce)
			_, _ = io.WriteString(w, r.URL.Path)
			atOnce--
		})
		c := x.dial()
		go func() {
			var b strings.Builder
			for i := range many {
				fmt.Fprintf(&b, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
			}
			_, _ = io.WriteString(c, b.String())
		}()
		r := bufio.NewReader(c)
		for i := range many {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(resp.Body); string(b) != fmt.Sprintf("/%d", i) {
				t.Fatalf("answer %d is %s", i, b)
			}
		}
		if most != 1 {
			t.Errorf("%d at once", most)
		}
	})
}
