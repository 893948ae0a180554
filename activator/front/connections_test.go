package front

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdleConnectionsAreClosedFirstAndTheOldestOfThemFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHouse(t, Config{Max: 3}, func(w http.ResponseWriter, r *http.Request) {})
		var all []*client
		for range 3 {
			c := x.dial()
			c.get(t, "/")
			all = append(all, c)
			time.Sleep(time.Second)
		}
		all[0].get(t, "/") // used again: now the second one has been idle for longest
		fourth := x.dial()
		if status, _ := fourth.get(t, "/"); status != 200 {
			t.Errorf("status %d", status)
		}
		if !all[1].closed() {
			t.Error("the one that was idle for longest is still open")
		}
		for _, i := range []int{0, 2} {
			if status, _ := all[i].get(t, "/"); status != 200 {
				t.Errorf("connection %d: status %d", i, status)
			}
		}
		if n := x.conns.Open(); n != 3 {
			t.Errorf("%d open, want 3", n)
		}
	})
}

func TestAConnectionThatNeverSendsGoesAfterASecondAndANewOneWaitsForThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHouse(t, Config{Max: 1}, func(w http.ResponseWriter, r *http.Request) {})
		silent := x.dial()
		begun := time.Now()
		if status, _ := x.dial().get(t, "/"); status != 200 {
			t.Errorf("status %d: a connection that never sends keeps everybody out", status)
		}
		if took := time.Since(begun); took < time.Second || took > time.Second+2*lookEvery {
			t.Errorf("answered after %v: one that has just been opened has a second", took)
		}
		if !silent.closed() {
			t.Error("it is still open")
		}
	})
}

func TestAConnectionInSteadyUseIsNotTakenAwayByNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHouse(t, Config{Max: 2}, func(w http.ResponseWriter, r *http.Request) {})
		steady := x.dial()
		for range 100 {
			if status, _ := steady.get(t, "/"); status != 200 {
				t.Fatal(status)
			}
			x.dial() // and never sends
			time.Sleep(700 * time.Millisecond)
		}
	})
}

func TestWhenEveryConnectionIsAtWorkANewOneIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		x := newHouse(t, Config{Max: 2}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/taken" {
				c, _, _ := http.NewResponseController(w).Hijack()
				go func() { <-end; _ = c.Close() }()
				return
			}
			<-end
		})
		busy, taken := x.dial(), x.dial()
		for path, c := range map[string]*client{"/": busy, "/taken": taken} {
			go func() { _, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n") }()
		}
		time.Sleep(time.Hour) // however long it takes
		synctest.Wait()
		third := x.dial()
		status, body := third.get(t, "/")
		if status != 503 || !strings.Contains(body, "all 2 connections") || !strings.Contains(body, "too-many-connections") {
			t.Errorf("%d %s", status, body)
		}
		// More than are told one by one are closed, and none is kept.
		for range 2 * mostWaiting {
			x.dial()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := x.conns.Open(); n != 2 {
			t.Errorf("%d open, want 2", n)
		}
		close(end)
		synctest.Wait()
		go func() { _, _ = io.Copy(io.Discard, busy) }()
		synctest.Wait()
		if status, _ := x.dial().get(t, "/"); status != 200 {
			t.Errorf("status %d although there is room again", status)
		}
	})
}
