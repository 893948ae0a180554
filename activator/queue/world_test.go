package queue

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/jobs"
)

// world is one Redis, a scaler's ledger and any number of activators.
type world struct {
	t      *testing.T
	redis  *miniredis.Miniredis
	ledger *Ledger
}

func newWorld(t *testing.T) *world {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	t.Cleanup(func() {
		synctest.Wait() // clients dial in the background, also after they are closed: not while it closes
		m.Close()
	})
	w := &world{t: t, redis: m, ledger: NewLedger(clientOf(t, m), nil)}
	if err := w.ledger.redis.Ping(t.Context()).Err(); err != nil { // from here on there is a server
		t.Fatal(err)
	}
	return w
}

// load the scripts: else the first call of each is two.
func (w *world) load() {
	for _, s := range []*redis.Script{holdScript, settleScript, submitScript, runScript, storeScript, againScript, offerScript, demandScript} {
		if err := s.Load(w.t.Context(), w.ledger.redis).Err(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func clientOf(t *testing.T, m *miniredis.Miniredis) redis.UniversalClient {
	c := redis.NewClient(&redis.Options{
		Addr:                     "127.0.0.1:6379", // never dialled
		DialerRetries:            1,
		MaxRetries:               -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return m.Dial()
		},
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// activator starts one more activator; stop ends it gracefully.
func (w *world) activator(name string, also ...func(*Config)) (q *Queue, stop func()) {
	w.t.Helper()
	cfg := Config{Redis: clientOf(w.t, w.redis), Activator: name}
	for _, fn := range also {
		fn(&cfg)
	}
	q, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = q.Run(ctx); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(stop)
	synctest.Wait()
	return q, stop
}

// kill ends an activator as kill -9 does: nothing of it is heard any more.
func (w *world) kill(q *Queue) { _ = q.cfg.Redis.Close() }

// serverIs makes Redis name a process as its own, and refuse every command if
// away is not "".
func (w *world) serverIs(run int, away string) {
	w.redis.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		switch {
		case away != "":
			c.WriteError(away)
			return true
		case cmd == "INFO" && len(args) == 1 && args[0] == "server":
			c.WriteBulk(fmt.Sprintf("# Server\r\nrun_id:%d\r\n", run))
			return true
		}
		return false
	})
}

// tick lets time pass while the scaler reads the demand, as it does.
func (w *world) tick(d time.Duration) {
	for ; d > 0; d -= 250 * time.Millisecond {
		time.Sleep(min(d, 250*time.Millisecond))
		_, _ = w.ledger.Demand(context.Background(), "translate")
	}
	synctest.Wait()
}

func (w *world) offer(offers ...jobs.SlotOffer) {
	w.t.Helper()
	if err := w.ledger.Offer(context.Background(), "translate", 1, offers); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func (w *world) demand() jobs.Demand {
	w.t.Helper()
	d, err := w.ledger.Demand(context.Background(), "translate")
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func replicaWith(id string, index, slots int) jobs.SlotOffer {
	return jobs.SlotOffer{ID: id, Index: index, Address: "127.0.0.1:1", Slots: slots}
}

var roomy = Limits{Requests: 1000, Bytes: 1 << 20}

func ticket(id string) *Ticket {
	return &Ticket{ID: id, Service: "translate", Method: "POST", Path: "/translate",
		Header: http.Header{"Authorization": {"Bearer secret"}, "X-A": {"b"}},
		Body:   []byte("body"), Deadline: time.Now().Add(10 * time.Minute)}
}

type held struct {
	id   string
	slot *Slot
	wait Wait
	err  error
}

// hold starts a wait and returns where its outcome will come.
func hold(ctx context.Context, q *Queue, id string, limits Limits) <-chan held {
	ch := make(chan held, 1)
	go func() {
		slot, wait, err := q.Hold(ctx, ticket(id), limits)
		ch <- held{id, slot, wait, err}
	}()
	synctest.Wait()
	return ch
}

func now[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-ch:
		return v
	default:
		t.Fatal("nothing has come")
		panic("unreachable")
	}
}

func notYet[T any](t *testing.T, ch <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-ch:
		t.Fatalf("came too early: %+v", v)
	default:
	}
}
