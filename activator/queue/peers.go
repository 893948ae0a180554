package queue

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrGone is what Config.Ask returns when nobody listens at the address any more,
// or another incarnation does: the one that was asked for is dead.
var ErrGone = errors.New("this activator is gone")

const (
	surveyEvery = 250 * time.Millisecond // while Redis is away
	askFor      = time.Second            // how long a peer may take
	rememberFor = time.Minute            // one that is silent
	outageFor   = 3 * time.Second        // how long a survey's result stands: then this process stood still
)

// View is what an activator tells a peer of the services that they speak of.
type View struct {
	Activator string           `json:"activator"`
	Services  map[string]Sight `json:"services"`
}

// Sight is what an activator sees and holds of one service.
type Sight struct {
	Redis bool `json:"redis"` // it reaches the ledger
	// Frozen: it does not, and puts no slot to new use before it does; then Busy,
	// replica → slots in use, only falls.
	Frozen bool           `json:"frozen,omitempty"`
	Number int64          `json:"number,omitempty"` // of its last statement
	Busy   map[string]int `json:"busy,omitempty"`
}

// statedView is what is told to the ledger in the name of one that is cut off.
type statedView struct {
	Number int64          `json:"number"`
	Busy   map[string]int `json:"busy,omitempty"`
}

// peers are the other activators, as last heard.
type peers struct {
	mu    sync.Mutex
	known map[string]string    // activator → address
	asked map[string]time.Time // when somebody silent was last asked after
	gone  []string             // activator|address of those found dead
	dead  map[string]time.Time // when they were, of the last minute
}

// Meet answers a peer that has told its view: see Config.Ask. Whoever of the two
// still reaches the ledger of a service speaks for the other, and that one stops
// using free slots. Services that the peer did not name, and whose ledger this
// activator does not reach, are added.
func (q *Queue) Meet(ctx context.Context, theirs View) View {
	mine := View{Activator: q.cfg.Activator, Services: map[string]Sight{}}
	for name, sight := range theirs.Services {
		s := q.known(name)
		reaches := s != nil && s.inTouch() || q.reaches(ctx, name)
		if s == nil && (!sight.Frozen || !reaches) { // we hold nothing of it
			mine.Services[name] = Sight{Redis: reaches, Frozen: !reaches}
			continue
		}
		s = q.service(name)
		s.meet(theirs.Activator, sight, reaches)
		mine.Services[name] = s.sight(reaches)
	}
	for _, s := range q.all() {
		if _, named := theirs.Services[s.name]; !named && s.outOfTouch() {
			mine.Services[s.name] = s.sight(false)
		}
	}
	return mine
}

// outOfTouch: it owns slots and has not heard of the ledger for a while.
func (s *service) outOfTouch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !within(s.heard, time.Now(), s.q.cfg.silent()) && s.ownsLocked()
}

// inTouch: Redis has heard of us lately, and we of it.
func (s *service) inTouch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.away && within(s.renewed, time.Now(), s.q.cfg.silent())
}

// meet takes in what a peer sees of the service.
func (s *service) meet(peer string, theirs Sight, reaches bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if theirs.Redis && !reaches {
		s.freezeLocked()
	}
	if theirs.Frozen && reaches && s.q.knows(peer) {
		s.views[peer] = statedView{theirs.Number, theirs.Busy}
		s.kick()
	}
}

// freezeLocked: a peer reaches the ledger and we do not.
func (s *service) freezeLocked() {
	if !s.frozen {
		s.q.cfg.Logger.Warn("cut off from the slot ledger; no free slot is used until it answers", "service", s.name)
	}
	s.frozen, s.outage = true, time.Time{}
}

// sight of this activator itself.
func (s *service) sight(reaches bool) Sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Sight{Redis: reaches && !s.frozen, Frozen: s.frozen, Number: s.number, Busy: map[string]int{}}
	for _, r := range s.replicas {
		if r.busy > 0 {
			out.Busy[r.ID] = r.busy
		}
	}
	return out
}

// reaches asks the node of Redis that has the service's ledger.
func (q *Queue) reaches(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, askFor/2)
	defer cancel()
	return q.cfg.Redis.Exists(ctx, keysOf(name)[5]).Err() == nil
}

// askAfter asks a silent activator, beside everything else, whether it lives, and
// tells it that the ledgers of some services are reached.
func (q *Queue) askAfter(id, address string, services []string) {
	if q.cfg.Ask == nil {
		return
	}
	now := time.Now()
	q.peers.mu.Lock()
	again := now.Sub(q.peers.asked[id]) < askFor
	if !again {
		q.peers.asked[id] = now
	}
	q.peers.mu.Unlock()
	if again {
		return // every answer to it brings the next settlement, and that the next question
	}
	q.asking.Go(func() {
		ctx, cancel := context.WithTimeout(q.runCtx, askFor)
		defer cancel()
		for {
			mine := View{Activator: q.cfg.Activator, Services: map[string]Sight{}}
			for _, name := range services {
				mine.Services[name] = Sight{Redis: true}
			}
			theirs, err := q.cfg.Ask(ctx, address, mine)
			if errors.Is(err, ErrGone) || err == nil && theirs.Activator != id && theirs.Activator != q.cfg.Activator {
				q.bury(id, address)
				return
			}
			if err != nil || theirs.Activator != id {
				return
			}
			services = q.speakFor(ctx, id, theirs)
			if len(services) == 0 {
				return
			}
		}
	})
}

// bury notes that an activator is dead, for the ledgers of all services.
func (q *Queue) bury(id, address string) {
	q.cfg.Logger.Info("an activator has died", "activator", id)
	q.peers.mu.Lock()
	q.peers.gone = append(q.peers.gone, id+"|"+address)
	q.peers.dead[id] = time.Now()
	q.peers.mu.Unlock()
	for _, s := range q.all() {
		s.mu.Lock()
		s.dead[id] = true
		s.mu.Unlock()
		s.kick()
	}
}

// lately returns those who were found dead within the last minute: a service that
// this activator had not met yet has to be told of them, too.
func (p *peers) lately() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]bool{}
	for id := range p.dead {
		out[id] = true
	}
	return out
}

// speakFor takes in what one that is cut off holds, to be told to the ledgers. It
// returns the services of which it has to be told first that they are reached.
func (q *Queue) speakFor(ctx context.Context, id string, theirs View) (tell []string) {
	for name, sight := range theirs.Services {
		switch {
		case sight.Frozen && len(sight.Busy) > 0:
			s := q.service(name)
			s.mu.Lock()
			s.views[id] = statedView{sight.Number, sight.Busy}
			s.mu.Unlock()
			s.kick()
		case !sight.Frozen && !sight.Redis && q.reaches(ctx, name):
			tell = append(tell, name)
		}
	}
	return tell
}

// watchPeers keeps the list of activators, asks after those on it that are silent,
// and finds out, while Redis is away, whether it is away for all.
func (q *Queue) watchPeers(ctx context.Context) error {
	if q.cfg.Ask != nil {
		greet := make(chan struct{})
		go func() {
			defer close(greet)
			tick := time.NewTicker(q.cfg.Heartbeat)
			defer tick.Stop()
			for {
				q.greet(ctx)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		}()
		defer func() { <-greet }()
	}
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			q.survey(ctx)
		}
	}
}

// Knows reports whether a host is that of another activator, as last heard.
func (q *Queue) Knows(host string) bool {
	q.peers.mu.Lock()
	defer q.peers.mu.Unlock()
	for _, address := range q.peers.known {
		if h, _, err := net.SplitHostPort(address); err == nil && h == host {
			return true
		}
	}
	return false
}

// knows reports whether somebody is on the list of activators: only they speak for
// themselves.
func (q *Queue) knows(id string) bool {
	q.peers.mu.Lock()
	defer q.peers.mu.Unlock()
	_, ok := q.peers.known[id]
	return ok
}

// greet says that this activator lives, and takes the list of the others.
func (q *Queue) greet(ctx context.Context) {
	q.peers.mu.Lock()
	gone := q.peers.gone
	q.peers.mu.Unlock()
	me := ""
	if q.cfg.Address != "" {
		me = q.cfg.Activator + "|" + q.cfg.Address
	}
	args := []any{me, rememberFor.Milliseconds()}
	for _, member := range gone {
		args = append(args, member)
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	reply, err := greetScript.Run(ctx, q.cfg.Redis, []string{peersKey}, args...).Slice()
	if err != nil {
		return // those last heard of stay known
	}
	now, known := time.Now(), map[string]string{}
	for i := 0; i+1 < len(reply); i += 2 {
		id, address, _ := strings.Cut(text(reply[i]), "|")
		if id == q.cfg.Activator {
			continue
		}
		known[id] = address
		if time.Duration(number(reply[i+1]))*time.Millisecond > q.cfg.silent()+q.cfg.Heartbeat {
			q.askAfter(id, address, nil)
		}
	}
	q.peers.mu.Lock()
	q.peers.known, q.peers.gone = known, q.peers.gone[len(gone):]
	for _, m := range []map[string]time.Time{q.peers.asked, q.peers.dead} {
		maps.DeleteFunc(m, func(_ string, at time.Time) bool { return now.Sub(at) > rememberFor })
	}
	q.peers.mu.Unlock()
}

// survey asks all known peers of the services whose ledger is away. Where none
// that answers reaches it, it is an outage, and slots stay in use past their
// lease; where one does, this activator is the one cut off, and says what it has
// in flight, for that peer to tell.
func (q *Queue) survey(ctx context.Context) {
	began := time.Now()
	var cut []*service
	for _, s := range q.all() {
		s.mu.Lock()
		if s.away && began.Sub(s.awaySince) >= q.cfg.Heartbeat/2 ||
			!within(s.heard, began, q.cfg.silent()) && s.ownsLocked() {
			cut = append(cut, s)
		}
		s.mu.Unlock()
	}
	if len(cut) == 0 {
		return
	}
	q.peers.mu.Lock()
	addresses := q.peers.known
	q.peers.mu.Unlock()
	reached := q.askAll(ctx, addresses, cut)
	froze := false
	for _, s := range cut {
		s.mu.Lock()
		now := time.Now()
		switch {
		case s.heard.After(began): // Redis has answered meanwhile
		case reached[s.name]:
			froze = froze || !s.frozen
			s.freezeLocked()
		case !s.frozen && s.trustLocked(now):
			// Only while the lease, or the outage, has not been broken: what was once
			// others' to take stays theirs until Redis says otherwise.
			s.outage = began
			if s.awayFor(now) {
				s.handOffLocked(now)
			}
		}
		s.mu.Unlock()
	}
	if froze {
		q.askAll(ctx, addresses, cut)
	}
}

func (s *service) ownsLocked() bool {
	return slices.ContainsFunc(s.replicas, func(r *replica) bool { return r.owned > 0 })
}

// askAll tells every peer what this activator sees of some services, and returns
// those whose ledger somebody reaches.
func (q *Queue) askAll(ctx context.Context, addresses map[string]string, services []*service) map[string]bool {
	reached := map[string]bool{}
	if q.cfg.Ask == nil {
		return reached
	}
	mine := View{Activator: q.cfg.Activator, Services: map[string]Sight{}}
	for _, s := range services {
		mine.Services[s.name] = s.sight(false)
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	for id, address := range addresses {
		asked.Go(func() {
			theirs, err := q.cfg.Ask(ctx, address, mine)
			if err != nil || theirs.Activator != id {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for name, sight := range theirs.Services {
				reached[name] = reached[name] || sight.Redis
			}
		})
	}
	asked.Wait()
	return reached
}
