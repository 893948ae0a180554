package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// faults stand between one activator and Redis.
type faults struct {
	mu     sync.Mutex
	cut    bool          // nothing comes through
	lost   int           // so many answers are lost on their way back
	delay  time.Duration // of every command, once there and once back
	paused chan struct{} // until closed the process stands still: what has arrived is not read
	late   time.Duration // the next script call is taken for lost, and arrives so much later
	server func() int64  // which process Redis is: what is late goes with its connection to another
	arrive func(args []any)
	stated time.Time // when the last statement was composed that has reached Redis
}

var errCut = errors.New("connection reset by the test")

func (f *faults) set(fn func(f *faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(f)
}

func (f *faults) now() faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return faults{cut: f.cut, lost: f.lost, delay: f.delay, paused: f.paused, stated: f.stated}
}

func (f *faults) stand() {
	if ch := f.now().paused; ch != nil {
		<-ch
	}
}

func (f *faults) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if f.now().cut {
			return nil, errCut
		}
		return next(ctx, network, addr)
	}
}

// around makes a call under the faults of the moment. An answer that will be lost is
// chosen when its call is made: another call's may come back before it.
func (f *faults) around(set func(error), call func() error) error {
	f.stand()
	f.mu.Lock()
	cut, lost, delay := f.cut, f.lost > 0, f.delay
	if lost && !cut {
		f.lost--
	}
	f.mu.Unlock()
	if cut {
		set(errCut)
		return errCut
	}
	time.Sleep(delay)
	err := call()
	time.Sleep(delay)
	f.stand()
	if lost || f.now().cut {
		set(errCut)
		return errCut
	}
	return err
}

func (f *faults) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if f.delayed(cmd) {
			cmd.SetErr(errCut)
			return errCut
		}
		states, composed := cmd.Name() == "evalsha" && cmd.Args()[1] == settleScript.Hash(), time.Now()
		return f.around(cmd.SetErr, func() error {
			err := next(context.WithoutCancel(ctx), cmd)
			if reply, _ := cmd.(*redis.Cmd); states && err == nil && fmt.Sprint(reply.Val().([]any)[0]) != "stale" {
				f.set(func(f *faults) { f.stated = composed })
			}
			return err
		})
	}
}

// delayed takes a script call out of its caller's hands, if one is to be late.
func (f *faults) delayed(cmd redis.Cmder) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late == 0 || cmd.Name() != "evalsha" || f.cut || f.paused != nil {
		return false
	}
	after, server, args := f.late, f.server(), slices.Clone(cmd.Args())
	f.late = 0
	go func() {
		if time.Sleep(after); f.server() == server {
			f.arrive(args)
		}
	}()
	return true
}

func (f *faults) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return f.around(func(err error) {
			for _, c := range cmds {
				c.SetErr(err)
			}
		}, func() error { return next(context.WithoutCancel(ctx), cmds) })
	}
}

// snapshot is all that a Redis has, to be put back later: a Redis that lost its
// last writes.
type snapshot struct {
	keys []savedKey
}

type savedKey struct {
	name, kind string
	ttl        time.Duration
	text       string
	list       []string
	hash       map[string]string
	zset       map[string]float64
}

func save(t *testing.T, m *miniredis.Miniredis) *snapshot {
	t.Helper()
	s := &snapshot{}
	for _, name := range m.Keys() {
		k := savedKey{name: name, kind: m.Type(name), ttl: m.TTL(name)}
		var err error
		switch k.kind {
		case "string":
			k.text, err = m.Get(name)
		case "list":
			k.list, err = m.List(name)
			k.list = slices.Clone(k.list)
		case "set":
			k.list, err = m.Members(name)
		case "hash":
			k.hash = map[string]string{}
			var fields []string
			fields, err = m.HKeys(name)
			for _, f := range fields {
				k.hash[f] = m.HGet(name, f)
			}
		case "zset":
			k.zset, err = m.SortedSet(name)
			k.zset = maps.Clone(k.zset)
		default:
			t.Fatalf("%s is a %s", name, k.kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.keys = append(s.keys, k)
	}
	return s
}

func (s *snapshot) restore(m *miniredis.Miniredis) {
	m.FlushAll()
	for _, k := range s.keys {
		switch k.kind {
		case "string":
			_ = m.Set(k.name, k.text)
		case "list":
			_, _ = m.RPush(k.name, k.list...)
		case "set":
			_, _ = m.SAdd(k.name, k.list...)
		case "hash":
			for f, v := range k.hash {
				m.HSet(k.name, f, v)
			}
		case "zset":
			for member, score := range k.zset {
				_, _ = m.ZAdd(k.name, score, member)
			}
		}
		if k.ttl > 0 {
			m.SetTTL(k.name, k.ttl)
		}
	}
}
