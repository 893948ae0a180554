// Package queue is the hold: tickets in Redis, the ledger of slots, and the
// protocol by which any number of activators share both without giving a slot
// twice.
//
// # What is where
//
// Redis is authoritative for four things of each service: which replicas have
// slots (offers, written by the scaler), who has how many of them (held, grants,
// quarantine), who waits, in which order (queue and tickets), and the requests and
// answers of durable tickets. An activator keeps a copy of its own share in memory
// and serves warm requests from it without asking (Try).
//
// # A slot's life
//
//	        offer                 settle, nobody waits
//	(none) ───────▶ free ───────────────────────────────▶ leased to A ◀──┐
//	                 │ ▲                                   │        │    │
//	    somebody     │ │ statement says less               │ Try    │ somebody waits, or
//	    waits: grant │ └───────────────────────────────────┼────────┘ the replica drains:
//	                 ▼                                     ▼             │ idle leases go back
//	              granted to ticket ── acknowledged ──▶ busy at A ───────┘ Release
//	                 │                                     │
//	                 └───────────── A dies ────────────────┴──▶ quarantined ──▶ free, when the replica's
//	                                                            own count says so (Observed), after
//	                                                            request.timeout, or gone with the replica
//
// Like a mutex with a normal and a starvation mode: while nobody waits, what is
// free is leased out and stays with its holder; as soon as somebody waits,
// freed slots go back to Redis and from there to the head of the queue.
//
// # Two kinds of tickets
//
// The ticket of a connection (Hold) goes with it and with its activator; so what is
// to be sent stays there, and Redis has no more of it than its place. A durable
// ticket (Submit), of a request with an idempotency key or without a connection,
// survives both. Its states:
//
//	Submit ──▶ held ──▶ granted ──▶ running ──▶ succeeded   a replica answered: Finish
//	            │ ▲        │           │  │
//	            │ └────────┴───────────┘  ├──▶ failed       Fail; tried as often as allowed; or its answer
//	            │   its owner died or gave                  broke off after somebody had read of it
//	            │   up: the same place     └──▶ cancelled   Cancel, from every state that is not final
//	            └──▶ failed                                 its deadline passed while it was held
//
// Nobody has to adopt a durable ticket while it waits: it stands in the queue with
// or without an owner, and who runs it is chosen when a slot is granted: the
// activator with its connection, else the one that asks, else one heard lately.
// Each grant makes a new epoch. Every write of an owner (run, store, again)
// compares owner and epoch in the same script, so of a stale owner nothing is
// stored; at most one final state is ever written. An attempt is counted before
// its request is sent, and taken back if nothing of it was (Execution.Unsent): a
// replica that refuses is none, and only the deadline bounds how often one is asked.
// An answer that broke off is discarded, and the request tried again, only while
// nobody has read any of it.
//
// For those who serve HTTP: Submit accepts or joins (Entry.Joined; ErrKeyReused for
// another body); Config.Execute sends the request and stores what comes back;
// Answer reads it at any activator, live or later; Find, Await and Cancel do what
// they say; Withdraw leaves alone what somebody else has joined, and a ticket lasts
// as long as the last of its callers was promised. A request with a key whose
// client waits is Submit, then Answer; the client that drops and comes back does
// the same again. Prefer: wait=20 is Await
// with a ctx of 20 s. The caller compares Entry.Tenant.
//
// # The calls
//
//   - hold, submit: a ticket is written, gets its number, and perhaps its slot at
//     once. Announces demand on the first ticket and at each doubling. A durable
//     request never takes a leased slot past Redis, since its ticket must be there
//     first; but while nobody is known to wait, submit brings an idle slot of its
//     caller's back in the same call, which then grants it to this ticket, or to
//     whoever is before it. It is told with the number of the caller's last
//     statement, and does nothing after a later one, which has said already that
//     the slot is free; while a statement is under way none is brought. So a durable
//     request on a warm service waits for no second call, and costs nobody else a
//     lease; what it costs over a plain one are the calls of a durable ticket:
//     submit, read, run, store, read of the answer, and an acknowledgement.
//   - settle: an activator states everything it holds (absolute, so repeating it
//     changes nothing), acknowledges grants, withdraws tickets, and tells what it
//     found out about others; the answer has its unacknowledged grants, new leases,
//     all offers, and who is silent. At most one is under way per service and
//     activator; a late copy of an older one is refused by its number. Sent
//     whenever something changed, 50 ms after more is in use than was stated, and
//     each second while anything is held or waits.
//   - run, store, again: the owner of a durable ticket begins, answers, gives up. Who
//     gives up before its grant is acknowledged gives the slot back with it: a grant
//     of a later epoch may follow, which that acknowledgement leaves alone. The ticket
//     of a connection that is held again is asked for once its last grant is
//     acknowledged.
//   - offer, demand, observe: the scaler states all replicas (Slots 0 drains one),
//     reads, and tells what replicas count themselves.
//   - read, cancel: anybody, of a durable ticket.
//   - greet: each second, outside any service: which activators there are.
//
// All that touch slots end by handing free ones to the head of the queue: least
// loaded replica first, ties to the lowest index; the most urgent priority first,
// but for one that waits and that nine slots have passed over: that is next, of several
// such the least urgent first, so that each that waits has every tenth slot, or one as
// many later as there are less urgent ones; first come first served. Messages on
// pl:slots, pl:demand and pl:answers only hasten what the next heartbeat or look
// would find. No script is longer than the number of replicas times activators:
// what may be many (tickets of the dead, deadlines) is done in steps of 100.
//
// # Leases
//
// By Redis' clock an activator is dead when it was silent for a lease (4.5 s); by its
// own, it trusts what it holds for nine tenths of that, counted from before the
// call was sent that renewed it, on the monotonic and on the wall clock (a process
// that stood still, a machine that was suspended). Slot.Check is that comparison;
// it belongs just before the first byte.
//
// What a dead activator ran is adopted in less than 5 s: each settlement is told
// when the next of those who are silent will be dead, and the next one is sent at
// that moment; services that have durable tickets are looked at by every activator
// each second. With an address that refuses it takes about 2 s.
//
// While Redis does not answer, it asks its peers (Config.Ask). If none that it can
// reach has Redis either, it is an outage of everybody, and it goes on past the
// lease as long as it keeps asking. If one has, it is the one cut off: it puts no
// free slot to new use, and that peer tells the ledger in its name what it has in
// flight, so that exactly that is quarantined. Peers that have Redis ask in turn
// after those who are silent; one whose address refuses, or is another
// incarnation's, is dead at once.
//
// # The end of a quarantine
//
// What a dead activator had in flight at a replica is one number, and it only
// falls: the dead begin nothing. It ends when the replica is offered no more, when
// its owner is heard again (then what that one states counts, and below), after
// request.timeout (which its owner has stated, as the longest that any of its requests
// may still take, or which a grant that it has not acknowledged brought with it), or when the replica's own count of its requests, running and
// waiting, shows less. While something is quarantined, and only then, the scaler
// reads that count each second from the replica's /metrics.
//
//   - A count of n says that at most n of the slots that one dead activator had are
//     in use, whoever's the n requests are. Nothing is subtracted for requests of
//     the living: what the ledger knows of them is an upper bound (a granted slot
//     whose request is on its way, a slow reader's whose answer is computed), and n
//     less an upper bound would free what is in use. The price: while others keep a
//     replica busier than the dead one had it, slots return as their load dips.
//   - Each dead activator's slots are bounded by themselves, not their sum: which of
//     two may come back, and take its own with it, is not known.
//   - A gauge may lag by a step of its engine, and a request that is being read is
//     not counted yet. Of an activator whose process is gone (its address refuses,
//     or is another's) all connections are closed, so that half a request is none;
//     its counts are heeded if they were asked for 2 s after its burial or later.
//     One that was only silent may be cut off and in the middle of a request; its
//     counts are heeded after 30 s, or 2 s after it is found to be gone.
//   - Asked for later means: after the script call that returned the mark, by the
//     ledger's own clock, and not before a recovery, which may change that clock.
//   - An unknown count is never zero. A replica without one of the metrics that the
//     scaler knows (vLLM's, SGLang's, TGI's, llama.cpp's) keeps its quarantine to
//     the end: shorten request.timeout if that is too long.
//
// An activator that is heard again cancels those of its runs that others have taken
// over meanwhile. Their engines may compute on, as for the dead: it gives each such
// slot up, and states it as left, so that it stays in quarantine until request.timeout
// has passed since the run began, or the replica's count is none, asked for 2 s later
// (their connections are closed). A run that had ended by itself leaves none, nor does
// one that was cancelled by its client.
//
// A quarantined slot of an activator that may live is in use as far as anybody
// knows: it holds up a drain and counts as demand. One of an activator that is gone
// holds up neither: its client went with it, or its durable request is run again in
// another slot, so that stopping the replica cuts nobody (Demand.Abandoned).
//
// # A ledger that may have lost writes
//
// Each script compares Redis' run id with the one that wrote last, and the
// generation that its caller has seen with its own. If the server is another
// process, the ledger is older than somebody remembers, or newer (it was empty, and
// the caller knows the one before), or an activator returns within an hour that was
// buried together with all others, nothing is granted or leased for one lease:
// until then all have stated what they hold or stopped using it. They ask for their
// tickets again, with their numbers, and claim what they run. Numbers are Redis'
// clock, so that they rise across what was lost.
//
// # Invariants
//
//   - For each replica: Σ held + grants + quarantined ≤ offered slots, except that
//     after an offer fell, or after somebody came back with more in flight than was
//     known, nothing new is granted until the sum has fallen too. It falls to what is
//     in flight within a heartbeat: each statement is answered with what may be kept.
//   - An activator forwards only with a slot of its own: busy ≤ owned ≤ what Redis
//     counts for it, within its lease.
//   - A ticket is in the queue, or granted, or running, or final, or gone.
//   - Tickets of one priority leave the queue in the order of their numbers.
//   - Only the owner of a ticket's present epoch changes it; a final state stays.
//
// # Failures
//
//	activator dies       its idle slots return after a lease, or as soon as its address
//	                     refuses; those in use are quarantined; connections' tickets go,
//	                     durable ones stay, and what it ran goes back to its place.
//	activator pauses     the same. When it goes on it gives no slot before it has asked;
//	                     what it states is believed only as far as there is room, but for
//	                     what is in flight; its writes to tickets run by others are refused.
//	Redis away           activators go on with what they hold, hand freed slots to
//	                     their own waiters in order, keep new tickets in memory within
//	                     the same limits, and number them when it is back. Durable
//	                     requests are not accepted. Nothing is reclaimed during the first
//	                     lease after silence of everybody.
//	Redis full           nothing new is accepted (ErrStoreFull); all else goes on.
//	answer lost          statements are absolute, and slots go back by a statement that
//	                     says less, not by its answer; grants are repeated until
//	                     acknowledged; hold and submit are idempotent by ticket, run by
//	                     epoch, store by the number of chunks; after a silence of a lease
//	                     all tickets are asked for again, whatever the answer says.
//	two scalers          offers carry the epoch of the scaler's term; after one of a
//	                     later epoch, those of an earlier are refused.
//	ticket unreadable    whatever its fields say, the scripts of its service go on; who was
//	                     to run it says so once and fails it, with the reason "unreadable".
//	message lost         found at the next heartbeat, at most a second later.
//	replica dies         its slots end with its offer; requests that are still in
//	                     flight there end with their connections. An activator that
//	                     sees it refuse connections reports it: no slot of it is
//	                     granted for a second.
//
// # What cannot be excluded
//
//   - A process that is killed within 50 ms after it put a leased slot to use has not
//     stated it: the slot returns as idle. Only a call before each use could prevent
//     it, and the warm path makes none.
//   - One that reaches neither Redis nor any activator that does, but its replicas,
//     goes on, by design (better than no traffic in an outage); its slots are given to
//     others after its lease.
//   - One that is stopped between Slot.Check and the write, or in the middle of
//     sending a request, for longer than its quarantine sends one late request per
//     slot.
//   - What was in flight at an activator that is dead, stands still or is cut off, or has
//     given it up as taken over, by the time Redis loses the writes that say so is known
//     to nobody but the replica; so is what one that is cut off still puts into such a
//     slot before its lease has ended.
//   - A request that is cancelled because its client has gone gives its slot back when
//     its connection is closed. An engine that computes on runs it beside the next one.
//   - Activators that all lose their way to Redis for more than an hour, while the
//     scaler has not, go on; the first that is back is given their slots, too.
//   - A Redis that comes back empty, together with a scaler that remembers nothing,
//     has nobody to tell it that slots are in use.
//
// # Keys
//
// All keys of a service carry its hash tag; scripts.go lists them. In number they
// are bounded by services, but for these, which expire: ticket:ID at its deadline,
// with the slack of its runs and, once final, result.keep; answer:ID with its
// ticket; key:HASH with its ticket, or at once when it is freed; mine:ACTIVATOR
// when its last ticket goes; kept with the last final ticket that it counts. Of
// these the final tickets and answers are bounded, too, by their bytes
// (Limits.Kept): beyond that the oldest go before their time, but none within ten
// minutes; then *KeptError. What stays of any number of requests, here and of the
// scaler, is under 30 keys for one service and one activator. pl:durable lists the services that have durable
// tickets, pl:peers the activators of the last minute. Redis must not evict:
// maxmemory-policy noeviction.
package queue
