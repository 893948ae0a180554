package queue

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
)

// FirstAnswers returns what FirstAnswer has reported since the last call, and
// forgets what the last call returned: an answer that is lost on its way comes
// again, to another process too.
func (l *Ledger) FirstAnswers(ctx context.Context, service string) ([]jobs.FirstAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	l.mu.Lock()
	had := l.firsts[service]
	l.mu.Unlock()
	rows, err := firstsScript.Run(ctx, l.redis, []string{firstsKey(service)}, had...).StringSlice()
	if err != nil {
		return nil, err
	}
	had = nil
	for _, row := range rows {
		had = append(had, row)
	}
	l.mu.Lock()
	l.firsts[service] = had
	l.mu.Unlock()
	var out []jobs.FirstAnswer
	for _, row := range rows {
		var f jobs.FirstAnswer
		if err := json.Unmarshal([]byte(row), &f); err == nil {
			out = append(out, f)
		}
	}
	return out, nil
}

// FirstAnswer reports that a replica has sent the first byte of its first
// answer to this activator, and announces it.
func (q *Queue) FirstAnswer(ctx context.Context, service string, f jobs.FirstAnswer) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	pipe := q.cfg.Redis.Pipeline()
	pipe.RPush(ctx, firstsKey(service), raw)
	pipe.LTrim(ctx, firstsKey(service), -1000, -1)
	pipe.Expire(ctx, firstsKey(service), time.Hour)
	pipe.Publish(ctx, demandChannel, service)
	_, err = pipe.Exec(ctx)
	return err
}

// countersTTL: counters of an activator silent for longer are not counted.
const countersTTL = 3500 * time.Millisecond

// PublishCounters writes what the scaler reads of this activator each second.
func (q *Queue) PublishCounters(ctx context.Context, c jobs.Counters) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	pipe := q.cfg.Redis.Pipeline()
	pipe.Set(ctx, countersKey(c.Activator), raw, countersTTL)
	pipe.ZAdd(ctx, activatorsKey, redis.Z{Score: float64(c.At.UnixMilli()), Member: c.Activator})
	_, err = pipe.Exec(ctx)
	return err
}

// Counters returns what every live activator last published.
func (l *Ledger) Counters(ctx context.Context) ([]jobs.Counters, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	ids, err := l.redis.ZRange(ctx, activatorsKey, 0, -1).Result()
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	pipe := l.redis.Pipeline()
	reads := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		reads[i] = pipe.Get(ctx, countersKey(id))
	}
	if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil {
		return nil, err
	}
	var out []jobs.Counters
	for i, r := range reads {
		raw, err := r.Bytes()
		if err == redis.Nil { // silent: forget it
			l.redis.ZRem(ctx, activatorsKey, ids[i])
			continue
		}
		if err != nil {
			return nil, err
		}
		var c jobs.Counters
		if err := json.Unmarshal(raw, &c); err == nil {
			out = append(out, c)
		}
	}
	return out, nil
}
