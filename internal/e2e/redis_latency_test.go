package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// slowLine is a way to a server on which every byte takes as long as it is told,
// in each direction; what is on its way does not hold up what follows.
type slowLine struct {
	listener net.Listener
	to       string
	oneWay   atomic.Int64 // ns
}

func startSlowLine(t *testing.T, to string) *slowLine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &slowLine{listener: l, to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go s.carry(near, far)
			go s.carry(far, near)
		}
	}()
	return s
}

type parcel struct {
	bytes []byte
	due   time.Time
}

// carry ends when either side does, and ends the other one.
func (s *slowLine) carry(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	parcels := make(chan parcel, 1024)
	go func() {
		defer close(parcels)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				parcels <- parcel{buf[:n], time.Now().Add(time.Duration(s.oneWay.Load()))}
			}
			if err != nil {
				return
			}
		}
	}()
	failed := false
	for p := range parcels {
		<-time.After(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil && !failed {
			failed = true // read on, so that the reader ends
			_ = from.Close()
		}
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func TestWhenRedisIsFarAwayOnlyHoldsAreSlower(t *testing.T) {
	t.Parallel()
	const roundTrip = 200 * time.Millisecond
	server := startRedis(t)
	line := startSlowLine(t, server.address())
	h := startDev(t, append(pairs{
		"warm":   {policyOf("warm", replicas(0, 1, 4), toZero("10m")), stubJob("warm", "--latency", "20ms")},
		"asleep": {policyOf("asleep", replicas(0, 1, 4), toZero("10m")), stubJob("asleep")},
	}.arguments(t), "--redis", "redis://"+line.listener.Addr().String())...)
	measure := func() time.Duration {
		t.Helper()
		var took []time.Duration
		for i := range 60 {
			text := fmt.Sprint("warm ", i)
			a := h.translate(t.Context(), "/warm/translate", text)
			if err := a.check(text); err != nil {
				t.Fatal(err)
			}
			took = append(took, a.took)
		}
		return median(took)
	}
	if err := h.translate(t.Context(), "/warm/translate", "first").check("first"); err != nil {
		t.Fatal(err)
	}
	near := measure()
	line.oneWay.Store(int64(roundTrip / 2))
	pause(t, 2*time.Second) // for statements and renewals to have gone the long way
	far := measure()
	t.Logf("warm p50 %v, with Redis %v away %v: %.2f×", near, roundTrip, far, far.Seconds()/near.Seconds())
	if far > near+roundTrip/2 {
		t.Errorf("warm p50 %v, with Redis %v away %v: a warm request waits for Redis", near, roundTrip, far)
	}
	// From zero, with a key and without a connection: slower, and nothing else.
	a := h.translate(t.Context(), "/asleep/translate", "held")
	if err := a.check("held"); err != nil {
		t.Errorf("held: %v", err)
	}
	t.Logf("from zero: %v", a.took)
	if a.took < roundTrip {
		t.Errorf("a hold took %v, less than one way to Redis and back: the line is not slow", a.took)
	}
	if err := h.keyed(t, "/asleep/translate", "keyed", "k").check("keyed"); err != nil {
		t.Errorf("with a key: %v", err)
	}
	if err := h.result(t, h.submit(t, "/asleep/translate", "async")).check("async"); err != nil {
		t.Errorf("async: %v", err)
	}
	if a := send(t.Context(), http.MethodGet, h.data+"/readyz", "", nil); a.status != http.StatusOK {
		t.Error(errors.Join(a.err, fmt.Errorf("/readyz: %d %s", a.status, a.body)))
	}
}
