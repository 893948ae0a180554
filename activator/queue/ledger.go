package queue

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
)

// Ledger is the scaler's side of the protocol: it offers replicas and reads
// demand.
type Ledger struct {
	redis   redis.UniversalClient
	lease   time.Duration
	timeout time.Duration
	log     *slog.Logger

	firsts firstsHad
}

// firstsHad are the first answers that the last call returned, by service.
type firstsHad struct {
	sync.Mutex
	rows map[string][]any
}

// NewLedger returns the scaler's side over the same Redis as the activators'.
func NewLedger(client redis.UniversalClient, log *slog.Logger) *Ledger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var cfg Config
	cfg.Defaults()
	return &Ledger{redis: client, lease: cfg.Lease, timeout: cfg.Timeout, log: log}
}

// Offer states which replicas have slots, all of them. Waiting tickets get free
// slots in the same step; activators learn of it at once.
func (l *Ledger) Offer(ctx context.Context, service string, offers []jobs.SlotOffer) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	args := []any{ticketPrefix(service), service, l.lease.Milliseconds()}
	for _, o := range offers {
		raw, err := json.Marshal(o)
		if err != nil {
			return err
		}
		args = append(args, o.ID, raw)
	}
	return offerScript.Run(ctx, l.redis, keysOf(service), args...).Err()
}

// Demand reads what waits and which slots are out.
func (l *Ledger) Demand(ctx context.Context, service string) (jobs.Demand, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	reply, err := demandScript.Run(ctx, l.redis, keysOf(service),
		ticketPrefix(service), service, l.lease.Milliseconds(), 1000).Slice()
	if err != nil {
		return jobs.Demand{}, err
	}
	d := jobs.Demand{Held: int(number(reply[0])), SlotsOut: map[string]int{}, Busy: map[string]int{}}
	if at := number(reply[1]); at > 0 {
		d.OldestHold = time.UnixMilli(at).UTC()
	}
	for i := 2; i+3 < len(reply); i += 4 {
		key, _ := reply[i+1].(string)
		switch reply[i] {
		case "s":
			d.SlotsOut[key] = int(number(reply[i+2]))
			d.Busy[key] = int(number(reply[i+3]))
		case "d":
			d.Deadlines = append(d.Deadlines, time.UnixMilli(number(key)).UTC())
		}
	}
	return d, nil
}

// Announced calls fn with each service whose demand is announced, and with ""
// after each connection to Redis; it returns when ctx ends.
func (l *Ledger) Announced(ctx context.Context, fn func(service string)) error {
	return subscribe(ctx, l.redis, demandChannel, l.log, fn)
}

// FirstAnswers returns what FirstAnswer has reported since the last call, and
// forgets what the last call returned: an answer that is lost on its way comes
// again, to another process too.
func (l *Ledger) FirstAnswers(ctx context.Context, service string) ([]jobs.FirstAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	l.firsts.Lock()
	had := l.firsts.rows[service]
	l.firsts.Unlock()
	rows, err := firstsScript.Run(ctx, l.redis, []string{firstsKey(service)}, had...).StringSlice()
	if err != nil {
		return nil, err
	}
	had = nil
	for _, row := range rows {
		had = append(had, row)
	}
	l.firsts.Lock()
	if l.firsts.rows == nil {
		l.firsts.rows = map[string][]any{}
	}
	l.firsts.rows[service] = had
	l.firsts.Unlock()
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
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
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
