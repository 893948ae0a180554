package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ticketFields are all that a ticket's hash may have.
var ticketFields = []string{"durable", "state", "owner", "epoch", "attempts", "max", "async", "key", "hash", "at", "deadline",
	"bytes", "seq", "level", "keep", "request_id", "method", "path", "header", "body", "tenant", "max_size", "timeout",
	"status", "answer", "size", "shown", "done", "reason", "replica", "joined", "unknown"}

// claims are the fields that say whose a ticket is, and what has become of it: a
// damaged one is believed until the ticket expires.
var claims = map[string]bool{"state": true, "owner": true, "epoch": true, "done": true}

// Moments at which a ticket is damaged.
const (
	whileHeld = iota
	whileRunning
	beforeItsOwnerDies
	onceFinal
	ofAConnection
	moments
)

// damaged lets a ticket's field be something else at a moment, and everything go
// on: it must be over with, without harm to those beside it.
func damaged(t *testing.T, moment int, field, value string) {
	w := newWorld(t)
	said := &transcript{}
	run := newRunner()
	quick := func(c *Config) { // the victim as it is told to, all others at once
		run.join(c)
		slowly := c.Execute
		c.Execute = func(ctx context.Context, e *Execution) error {
			if e.ticket == "translate.victim" && moment != whileHeld && e.Attempt == 1 {
				return slowly(ctx, e)
			}
			e.Begin(http.StatusOK, nil)
			return e.Finish(ctx, []byte("answer"))
		}
		c.Logger = slog.New(slog.NewTextHandler(said, nil))
	}
	a, _ := w.activator("a", quick)
	b, _ := w.activator("b", quick)
	victim := "translate.victim"
	if moment == ofAConnection {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		ch := hold(ctx, a, victim, roomy)
		defer func() {
			leave()
			synctest.Wait()
			if h := <-ch; h.err == nil {
				h.slot.Release()
			}
		}()
	} else {
		w.submit(a, keyed("victim", "k"))
	}
	damage := func() { w.redis.HSet(prefix("translate")+"ticket:"+victim, field, value) }
	if moment == whileHeld || moment == ofAConnection {
		damage()
	}
	w.offer(replicaWith("r1", 0, 3))
	w.tick(250 * time.Millisecond)
	switch moment {
	case whileRunning:
		now(t, run.started)
		damage()
		run.do <- func(context.Context, *Execution) error { return errors.New("the replica died") }
	case beforeItsOwnerDies:
		now(t, run.started)
		damage()
		w.kill(a)
		a = b
	case onceFinal:
		now(t, run.started)
		run.do <- func(ctx context.Context, e *Execution) error {
			e.Begin(http.StatusOK, nil)
			return e.Finish(ctx, []byte("answer"))
		}
		synctest.Wait()
		damage()
	}
	w.tick(time.Second)
	for i, q := range []*Queue{a, b} {
		if got := w.answer(q, w.submit(q, async(fmt.Sprint("healthy", i))).ID); got != "answer" {
			t.Errorf("answer of another request = %q", got)
		}
	}
	if moment == beforeItsOwnerDies {
		time.Sleep(6 * time.Second)
	}
	w.tick(time.Second)
	if e, err := b.Find(t.Context(), victim); err == nil && !e.State.Final() && !claims[field] {
		t.Errorf("it is %s", e.State)
	}
	for range 2 { // it may be read, listed and cancelled like any other
		if _, err := b.Find(t.Context(), victim); err != nil && !errors.Is(err, ErrUnknownRequest) {
			t.Errorf("find: %v", err)
		}
		if _, err := w.ledger.Requests(t.Context(), "translate", 10); err != nil {
			t.Errorf("list: %v", err)
		}
		if _, err := b.Submit(t.Context(), keyed("again", "k"), roomy); err != nil && !errors.Is(err, ErrKeyReused) {
			t.Errorf("submit with its key: %v", err)
		}
		if moment != ofAConnection {
			_, err := b.Cancel(t.Context(), victim)
			if err != nil && !errors.Is(err, ErrUnknownRequest) {
				t.Errorf("cancel: %v", err)
			}
		}
	}
	w.tick(time.Second)
	if d := w.demand(); d.Held != 0 {
		t.Errorf("%d are held still", d.Held)
	}
	if n := strings.Count(said.String(), "dropped"); n > 1 {
		t.Errorf("said %d times that it is dropped:\n%s", n, said)
	}
	if bytes, err := b.cfg.Redis.HGet(t.Context(), prefix("translate")+"ledger", "bytes").Result(); err != nil || bytes != "0" {
		t.Errorf("%s bytes are counted as held, %v", bytes, err)
	}
}

type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

func TestATicketWithADamagedFieldIsOverAndHarmsNobody(t *testing.T) {
	for moment := range moments {
		for _, field := range ticketFields {
			t.Run(fmt.Sprint(moment, " ", field), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { damaged(t, moment, field, "x") })
			})
		}
	}
}

func FuzzATicketAsReadBackNeverPanicsAndHarmsNobody(f *testing.F) {
	for i := range moments {
		f.Add(i, i, []byte("1e400"))
		f.Add(i, i+3, []byte("9223372036854775807"))
	}
	f.Fuzz(func(t *testing.T, moment, field int, value []byte) {
		if moment < 0 || moment >= moments || field < 0 || field >= len(ticketFields) {
			return
		}
		synctest.Test(t, func(t *testing.T) { damaged(t, moment, ticketFields[field], string(value)) })
	})
}

// The Go side alone, which is quick enough for many tries.
func FuzzATicketIsReadWholeOrRefused(f *testing.F) {
	f.Add("1", "60000", "1700000000000", "9", "2", "1000", "100", `{"A":["b"]}`)
	f.Add("0", "-1", "x", "99999999999999999999", "", "1e3", "0x1", `{"A":1}`)
	f.Add("1", "9223372036854775807", "9223372036854775807", "9223372036854775807", "1", "9223372036854775807", "1", `null`)
	f.Fuzz(func(t *testing.T, attempts, timeout, deadline, level, most, keep, size, header string) {
		e := &Execution{ticket: "translate.1", s: &service{name: "translate"}}
		err := e.load([]any{"attempts", attempts, "timeout", timeout, "deadline", deadline, "level", level, "max", most,
			"keep", keep, "max_size", size, "header", header, "odd"})
		var unreadable *UnreadableError
		switch {
		case err != nil && !errors.As(err, &unreadable):
			t.Errorf("err = %v", err)
		case err != nil && len(err.Error()) > 400:
			t.Errorf("an error of %d bytes", len(err.Error()))
		case err == nil && (e.timeout <= 0 || e.Request.Keep < 0 || e.Request.MaxSize < 0 || e.Attempt < 1 || e.Request.Attempts < 1):
			t.Errorf("accepted %+v, %v", e.Request, e.timeout)
		}
	})
}
