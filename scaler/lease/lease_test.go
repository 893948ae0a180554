package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// network is a miniredis whose clients each have a wire of their own.
type network struct {
	server *miniredis.Miniredis
}

func startRedis(t *testing.T) *network {
	t.Helper()
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	t.Cleanup(server.Close)
	return &network{server: server}
}

func (n *network) client(t *testing.T) (redis.UniversalClient, *wire) {
	t.Helper()
	w := &wire{network: n}
	client := redis.NewClient(&redis.Options{
		Addr:                     "127.0.0.1:6379",
		Dialer:                   w.dial,
		MaxRetries:               -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { client.Close() })
	return client, w
}

// wire is one client's way to the server.
type wire struct {
	network *network
	cut     atomic.Bool
}

func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	if w.cut.Load() {
		return nil, errors.New("network is down")
	}
	conn, err := w.network.server.Dial()
	if err != nil {
		return nil, err
	}
	return &cuttable{Conn: conn, wire: w}, nil
}

// cuttable swallows what is written while its wire is cut: the caller waits
// for an answer that never comes.
type cuttable struct {
	net.Conn
	wire *wire
}

func (c *cuttable) Write(b []byte) (int, error) {
	if c.wire.cut.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// term is one period of leading, as its leader saw it.
type term struct {
	who        string
	epoch      int64
	from, till time.Time
	cause      error
}

// contend runs a claim that records its terms.
func contend(ctx context.Context, l *Lease, who string, terms chan<- term) {
	l.Run(ctx, func(ctx context.Context, epoch int64) error {
		from := time.Now()
		terms <- term{who: who, epoch: epoch, from: from}
		<-ctx.Done()
		terms <- term{who: who, epoch: epoch, from: from, till: time.Now(), cause: context.Cause(ctx)}
		return nil
	}, func() {})
}

func TestOnlyOneOfTwoLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		ctx, cancel := context.WithCancel(t.Context())
		terms := make(chan term, 100)
		for _, who := range []string{"a", "b"} {
			client, _ := network.client(t)
			go contend(ctx, New(client, "scaler", quiet()), who, terms)
		}
		time.Sleep(time.Minute)
		if len(terms) != 1 {
			t.Errorf("%d terms began or ended within a minute, want the one that began", len(terms))
		}
		cancel()
		synctest.Wait()
	})
}

func TestStandbyTakesOverWithinThreeSecondsOfASilentLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		terms := make(chan term, 100)
		first, wire := network.client(t)
		go contend(ctx, New(first, "scaler", quiet()), "a", terms)
		a := <-terms
		second, _ := network.client(t)
		go contend(ctx, New(second, "scaler", quiet()), "b", terms)
		time.Sleep(700 * time.Millisecond)

		cut := time.Now()
		wire.cut.Store(true)
		end, b := <-terms, <-terms
		if end.who != "a" || !errors.Is(end.cause, ErrExpired) {
			t.Errorf("%s's term ended with %v, want a's with %v", end.who, end.cause, ErrExpired)
		}
		if b.who != "b" || b.epoch <= a.epoch {
			t.Errorf("%s leads in epoch %d, want b in one after %d", b.who, b.epoch, a.epoch)
		}
		if !end.till.Before(b.from) {
			t.Errorf("a led until %v, b from %v: both at once", end.till, b.from)
		}
		if gap := b.from.Sub(cut); gap >= 3*time.Second {
			t.Errorf("takeover after %v, want less than 3s", gap)
		}
	})
}

func TestLeaderThatStopsHandsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		terms := make(chan term, 100)
		first, _ := network.client(t)
		ctxA, stopA := context.WithCancel(t.Context())
		go contend(ctxA, New(first, "scaler", quiet()), "a", terms)
		<-terms
		ctxB, stopB := context.WithCancel(t.Context())
		defer func() { stopB(); synctest.Wait() }()
		second, _ := network.client(t)
		go contend(ctxB, New(second, "scaler", quiet()), "b", terms)
		time.Sleep(time.Second)

		stopped := time.Now()
		stopA()
		<-terms
		b := <-terms
		if gap := b.from.Sub(stopped); gap > Retry {
			t.Errorf("takeover after %v, want at most %v", gap, Retry)
		}
	})
}

func TestLeaderCutOffForTenSecondsGoesOnInTheNextEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		terms := make(chan term, 100)
		client, wire := network.client(t)
		go contend(ctx, New(client, "scaler", quiet()), "a", terms)
		began := <-terms

		wire.cut.Store(true)
		time.Sleep(10 * time.Second)
		wire.cut.Store(false)
		<-terms
		again := <-terms
		if again.epoch != began.epoch+1 {
			t.Errorf("leads again in epoch %d, want %d", again.epoch, began.epoch+1)
		}
	})
}

func TestOneThatWaitsIsToldThatAnotherHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		told := 0
		lead := func(ctx context.Context, _ int64) error { <-ctx.Done(); return nil }
		client, _ := network.client(t)
		l := New(client, "scaler", quiet())
		go l.Run(ctx, lead, func() { told++ })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if told != 0 {
			t.Errorf("told %d times while it led itself", told)
		}
		network.server.Set(l.keys[0], "somebody else")
		time.Sleep(Renew + 2*Retry)
		synctest.Wait()
		if told == 0 {
			t.Error("not told that somebody else holds the lease")
		}
	})
}

func TestTermEndsWhenAnotherHolderIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		terms := make(chan term, 100)
		client, _ := network.client(t)
		l := New(client, "scaler", quiet())
		go contend(ctx, l, "a", terms)
		<-terms
		network.server.Set(l.keys[0], "somebody else")
		end := <-terms
		if !errors.Is(end.cause, ErrLost) {
			t.Errorf("term ended with %v, want %v", end.cause, ErrLost)
		}
		if holder, _ := network.server.Get(l.keys[0]); holder != "somebody else" {
			t.Errorf("holder is %q: the loser took away what is not its own", holder)
		}
	})
}

func TestErrorOfTheLeaderEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		client, _ := network.client(t)
		broken := errors.New("broken")
		l := New(client, "scaler", quiet())
		err := l.Run(t.Context(), func(context.Context, int64) error { return broken }, func() {})
		if !errors.Is(err, broken) {
			t.Errorf("Run returned %v, want %v", err, broken)
		}
		if network.server.Exists(l.keys[0]) {
			t.Error("the lease was not given back")
		}
	})
}

func TestReleaseLeavesTheLeaseOfAnotherAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		ctx, cancel := context.WithCancel(t.Context())
		terms := make(chan term, 100)
		client, _ := network.client(t)
		l := New(client, "scaler", quiet())
		done := make(chan struct{})
		go func() { defer close(done); contend(ctx, l, "a", terms) }()
		<-terms
		network.server.Set(l.keys[0], "somebody else")
		cancel() // before a renewal finds out
		<-done
		if holder, _ := network.server.Get(l.keys[0]); holder != "somebody else" {
			t.Errorf("holder is %q, want somebody else", holder)
		}
	})
}

func TestALeaderThatIsOutrankedLeadsAgainAboveTheLaterEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := startRedis(t)
		client, _ := network.client(t)
		ctx, cancel := context.WithCancel(t.Context())
		var epochs []int64
		err := New(client, "scaler", quiet()).Run(ctx, func(ctx context.Context, epoch int64) error {
			epochs = append(epochs, epoch)
			if epoch <= 41 { // the count of terms was lost, what it fences was not
				return fmt.Errorf("claim: %w", &OutrankedError{Epoch: 41})
			}
			cancel()
			return nil
		}, func() {})
		if err != nil || len(epochs) != 2 || epochs[0] != 1 || epochs[1] != 42 {
			t.Errorf("epochs %v, %v; want 1 and then 42", epochs, err)
		}
	})
}
