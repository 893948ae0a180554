package subscribe

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pilotlight/pilotlight/internal/redisdb"
	"github.com/pilotlight/pilotlight/internal/redistest"
)

// line to an embedded Redis whose connections can be cut, made deaf, or refused.
type line struct {
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	refuses atomic.Bool

	mu    sync.Mutex
	conns []*conn
}

type conn struct {
	net.Conn
	deaf atomic.Bool // what is written to it gets nowhere
}

func (c *conn) Write(p []byte) (int, error) {
	if c.deaf.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (l *line) open(ctx context.Context, network, addr string) (net.Conn, error) {
	if l.refuses.Load() {
		return nil, fmt.Errorf("refused")
	}
	inner, err := l.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return c, nil
}

// each does something to every connection made so far.
func (l *line) each(do func(c *conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		do(c)
	}
}

// follower notes what Follow tells, "+" for a connection.
type follower struct {
	line    *line
	publish func(payload string)
	stop    func()

	mu   sync.Mutex
	told []string
}

func follow(t *testing.T) *follower {
	t.Helper()
	server, sender := redistest.Redis(t)
	f := &follower{line: &line{dial: redisdb.DialEmbedded(server)}}
	f.publish = func(payload string) {
		if err := sender.Publish(t.Context(), "channel", payload).Err(); err != nil {
			t.Error(err)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", MaxRetries: -1, Dialer: f.line.open, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	note := func(s string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.told = append(f.told, s)
	}
	go func() { ended <- Follow(ctx, client, "channel", nil, func() { note("+") }, note) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		synctest.Wait()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v, want nil", err)
			}
		default:
			t.Error("it goes on after its ctx has ended")
			<-ended
		}
	})
	t.Cleanup(f.stop)
	return f
}

// want all that has been told so far.
func (f *follower) want(t *testing.T, told ...string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.told, told) {
		t.Errorf("told %q, want %q", f.told, told)
	}
}

func TestTheConnectionIsToldBeforeTheMessagesAndThoseInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		f.want(t, "+")
		f.publish("a")
		f.publish("")
		f.publish("b")
		f.want(t, "+", "a", "", "b")
	})
}

func TestABrokenConnectionIsMadeAnewAtOnceAndSaidSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		f.want(t, "+")
		f.line.each(func(c *conn) { _ = c.Close() })
		synctest.Wait()
		f.publish("lost")
		time.Sleep(2 * firstPause)
		f.publish("heard")
		f.want(t, "+", "+", "heard")
	})
}

func TestAnOutageOfAnyLengthEndsWithinTwoOfTheLongestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		f.want(t, "+")
		f.line.refuses.Store(true)
		f.line.each(func(c *conn) { _ = c.Close() })
		time.Sleep(20 * time.Minute) // longer than the default patience of a backoff
		f.want(t, "+")
		f.line.refuses.Store(false)
		time.Sleep(2 * lastPause)
		f.want(t, "+", "+")
		f.line.each(func(c *conn) { _ = c.Close() })
		time.Sleep(2 * firstPause) // and the next outage begins with short pauses again
		f.want(t, "+", "+", "+")
	})
}

func TestAServerThatAnswersNoMoreIsLeftAfterTwoSilences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		f.want(t, "+")
		f.line.each(func(c *conn) { c.deaf.Store(true) })
		time.Sleep(2*Silence - time.Millisecond)
		f.want(t, "+")
		time.Sleep(time.Millisecond + 2*firstPause)
		f.want(t, "+", "+")
	})
}

func TestASubscriptionThatIsQuietForAnHourIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		time.Sleep(time.Hour)
		f.publish("late")
		f.want(t, "+", "late")
	})
}

func TestItEndsAtOnceWithItsContextAlsoWhileNobodyAnswers(t *testing.T) {
	for name, during := range map[string]func(f *follower){
		"connected": func(*follower) {},
		"deaf":      func(f *follower) { f.line.each(func(c *conn) { c.deaf.Store(true) }) },
		"refused": func(f *follower) {
			f.line.refuses.Store(true)
			f.line.each(func(c *conn) { _ = c.Close() })
			time.Sleep(10 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := follow(t)
				f.want(t, "+")
				during(f)
				f.stop()
			})
		})
	}
}
