package scaler

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
)

// calls counts the commands of one process to Redis.
type calls struct{ n atomic.Int64 }

func (c *calls) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *calls) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *calls) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// crowd puts services beside the one, at a slow tick, at which few of them are
// enough to be at rest for longer than between two decisions. It returns when all
// have settled.
func crowd(h *house) *calls {
	h.stop()
	h.tick = crowdTick
	for i := range crowdServices - 1 {
		p := policy(nil)
		p.Name = fmt.Sprint("other-", i)
		h.policies.put(p)
	}
	h.start()
	pass(4 * time.Minute)
	c := &calls{}
	h.client.AddHook(c)
	return c
}

const (
	crowdServices = 400
	crowdTick     = 5 * time.Second
)

// restful fails if services at rest cost more calls than a tick may.
func restful(t *testing.T, h *house, redis *calls) {
	t.Helper()
	const ticks = 20
	reads, writes, fleet := h.ledger.asked(), redis.n.Load(), h.fleet.commands()
	pass(ticks * crowdTick)
	if n := h.ledger.asked() - reads; n > ticks*(repairs+1) {
		t.Errorf("%d readings of the demand in %d ticks, want at most %d in each", n, ticks, repairs)
	}
	// A beat; and of each that is looked at, its status and memory and the channel.
	if n := redis.n.Load() - writes; n > ticks*(4*repairs+1) {
		t.Errorf("%d commands to Redis in %d ticks, want at most %d in each", n, ticks, 4*repairs+1)
	}
	if n := h.fleet.commands() - fleet; n != 0 {
		t.Errorf("%d calls to the fleet", n)
	}
}

func TestServicesAtRestCostCallsByTheTickAndNotByTheirNumber(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		redis := crowd(h)
		restful(t, h, redis)
		if st := h.status(); st.State != jobs.StateZero || time.Since(st.At) > 2*crowdTick {
			t.Errorf("state %s as of %v ago, want zero as of now", st.State, time.Since(st.At))
		}
		asked := time.Now()
		h.ledger.ask(1)
		within(t, time.Second, "a scale call", func() bool { return len(h.fleet.scaleCalls()) > 0 })
		if took := h.fleet.scaleCalls()[0].at.Sub(asked); took > 10*time.Millisecond {
			t.Errorf("woken after %v", took)
		}
	})
}

func TestWhileTheFleetIsSilentServicesAtRestCostNoMoreCalls(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		redis := crowd(h)
		h.fleet.leave()
		pass(2 * time.Minute) // all have noticed it, and said so
		if st := h.status(); h.notice(jobs.NoticeFleetSilent) == "" || time.Since(*st.FleetAt) < time.Minute {
			t.Errorf("notices %v, fleet heard %v ago; want to be told that it is silent", st.Notices, time.Since(*st.FleetAt))
		}
		restful(t, h, redis)
		h.fleet.comeBack()
		pass(2 * time.Minute)
		if text := h.notice(jobs.NoticeFleetSilent); text != "" {
			t.Errorf("it is heard again, and still told: %s", text)
		}
	})
}

func TestDemandWhoseAnnouncementWasLostIsFoundByTheCounters(t *testing.T) {
	play(t, policy(nil), func(t *testing.T, h *house) {
		pass(time.Minute)
		h.ledger.set(func() { h.ledger.mute = true })
		h.ledger.ask(1)
		within(t, 1500*time.Millisecond, "a scale call", func() bool { return len(h.fleet.scaleCalls()) > 0 })
	})
}

func TestAGateLetsThroughAsManyAsItIsWideAndWhoeverIsInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, hurry := make(gate, 2), make(chan struct{})
		leave := g.enter(t.Context(), nil)
		g.enter(t.Context(), nil)
		var entered atomic.Int64
		for range 2 {
			go func() {
				leave := g.enter(t.Context(), hurry)
				entered.Add(1)
				leave()
			}()
			synctest.Wait()
			if entered.Load() > 0 {
				t.Error("a third one went through")
			}
		}
		close(hurry)
		synctest.Wait()
		if entered.Load() != 2 || len(g) != 2 {
			t.Errorf("%d in a hurry went through, and %d places are taken; want 2 of both", entered.Load(), len(g))
		}
		if leave(); len(g) != 1 {
			t.Errorf("%d places taken after one has left, want 1", len(g))
		}
	})
}
