package queue

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/subscribe"
	"github.com/pilotlight/pilotlight/jobs"
)

// Ledger is the scaler's side of the protocol: it offers replicas and reads
// demand.
type Ledger struct {
	redis redis.UniversalClient
	cfg   Config
	log   *slog.Logger

	mu     sync.Mutex
	gens   map[string]int64 // service → latest generation of its ledger seen
	firsts map[string][]any // service → the first answers that the last call returned
}

// NewLedger returns the scaler's side over the same Redis as the activators'.
func NewLedger(client redis.UniversalClient, log *slog.Logger) *Ledger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{redis: client, log: log, gens: map[string]int64{}, firsts: map[string][]any{}}
	l.cfg.Defaults()
	return l
}

// call a script with the generation last seen, and note the one it answers with.
func (l *Ledger) call(ctx context.Context, s *redis.Script, service string, own ...any) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	l.mu.Lock()
	gen := l.gens[service]
	l.mu.Unlock()
	reply, err := run(ctx, s, l.redis, service, argsOf(service, &l.cfg, gen, "", own...))
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.gens[service] = max(l.gens[service], number(reply[0]))
	l.mu.Unlock()
	return reply, nil
}

// Offer states which replicas have slots, all of them. Waiting tickets get free
// slots in the same step; activators learn of it at once. epoch is that of the
// caller's term as the leading scaler; a *jobs.StaleOfferError if one of a later
// term has offered.
func (l *Ledger) Offer(ctx context.Context, service string, epoch int64, offers []jobs.SlotOffer) error {
	own := []any{epoch}
	for _, o := range offers {
		raw, err := json.Marshal(o)
		if err != nil {
			return err
		}
		own = append(own, o.ID, raw)
	}
	reply, err := l.call(ctx, offerScript, service, own...)
	if err != nil {
		return err
	}
	if later := number(reply[2]); later > epoch {
		return &jobs.StaleOfferError{Service: service, Epoch: later}
	}
	return nil
}

// deadlinesAtMost are read with the demand.
const deadlinesAtMost = 1000

// Demand reads what waits and which slots are out.
func (l *Ledger) Demand(ctx context.Context, service string) (jobs.Demand, error) {
	reply, err := l.call(ctx, demandScript, service, deadlinesAtMost)
	if err != nil {
		return jobs.Demand{}, err
	}
	d := jobs.Demand{Held: int(number(reply[1])), SlotsOut: map[string]int{}, Busy: map[string]int{},
		Quarantined: map[string]int{}, Abandoned: map[string]int{}}
	if at := number(reply[2]); at > 0 {
		d.OldestHold = time.UnixMilli(at).UTC()
	}
	for i := 3; i+3 < len(reply); i += 4 {
		key := text(reply[i+1])
		switch reply[i] {
		case "s":
			d.SlotsOut[key] = int(number(reply[i+2]))
			d.Busy[key] = int(number(reply[i+3]))
		case "q":
			d.Quarantined[key] = int(number(reply[i+2]))
			if n := int(number(reply[i+3])); n > 0 {
				d.Abandoned[key] = n
			}
		case "d":
			d.Deadlines = append(d.Deadlines, time.UnixMilli(number(key)).UTC())
		}
	}
	return d, nil
}

// Quarantined returns the quarantined slots of a service, and a mark: counts for
// which replicas are asked after this call has returned may be told to Observed
// with it.
func (l *Ledger) Quarantined(ctx context.Context, service string) ([]jobs.Quarantine, jobs.SlotMark, error) {
	return l.observe(ctx, service, 0, nil)
}

// Observed tells how many requests replicas have in flight by their own counts,
// for which they were asked after Quarantined had returned the mark. Of the slots
// that each dead activator may have in use there, no more than that many can be:
// the others return. doc.go has the argument, and from when on counts are heeded.
func (l *Ledger) Observed(ctx context.Context, service string, mark jobs.SlotMark, inFlight map[string]int) error {
	_, _, err := l.observe(ctx, service, mark, inFlight)
	return err
}

func (l *Ledger) observe(ctx context.Context, service string, mark jobs.SlotMark, inFlight map[string]int) ([]jobs.Quarantine, jobs.SlotMark, error) {
	own := []any{int64(mark)}
	for replica, n := range inFlight {
		own = append(own, replica, n)
	}
	reply, err := l.call(ctx, observeScript, service, own...)
	if err != nil {
		return nil, 0, err
	}
	var out []jobs.Quarantine
	for i := 2; i+3 < len(reply); i += 4 {
		out = append(out, jobs.Quarantine{Replica: text(reply[i]), Slots: int(number(reply[i+1])),
			Until: time.UnixMilli(number(reply[i+2])).UTC(), Activator: text(reply[i+3])})
	}
	return out, jobs.SlotMark(number(reply[1])), nil
}

// Announced calls fn with each service whose demand is announced, and with ""
// after each connection to Redis; it returns when ctx ends.
func (l *Ledger) Announced(ctx context.Context, fn func(service string)) error {
	return subscribe.Follow(ctx, l.redis, demandChannel, l.log, func() { fn("") }, fn)
}
