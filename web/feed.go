package web

import (
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Topics of the stream. Point and beat are momentary: they carry no id and are
// not kept for readers that come back.
const (
	topicStatus    = "status"
	topicDecision  = "decision"
	topicColdStart = "coldstart"
	topicPolicy    = "policy"
	topicPoint     = "point"
	topicBeat      = "beat"
	topicReset     = "reset"
)

const (
	ringSize   = 1024 // events kept for readers that come back
	readerRoom = 256  // events that a reader may lag behind before it is dropped
)

// event is one message of the stream; sequence 0 is momentary.
type event struct {
	sequence uint64
	topic    string
	service  string
	data     []byte // JSON on one line
}

// feed hands every event to every reader, and never waits for one.
type feed struct {
	epoch string // of this process, so that ids of another are not mistaken for ours

	mu      sync.Mutex
	last    uint64
	ring    []event // the last ones, oldest first
	readers map[*reader]struct{}
	closed  bool
}

// reader is one open stream. Its channel is closed when it is dropped or the
// feed ends.
type reader struct {
	events  chan event
	topics  []string // none: all
	service string   // "": all
}

func newFeed() *feed {
	return &feed{epoch: rand.Text()[:8], readers: make(map[*reader]struct{})}
}

// publish keeps an event in the ring and hands it to the readers.
func (f *feed) publish(topic, service string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	e := event{sequence: f.last, topic: topic, service: service, data: data}
	if len(f.ring) == ringSize {
		f.ring = slices.Delete(f.ring, 0, 1)
	}
	f.ring = append(f.ring, e)
	f.hand(e)
}

// mention hands a momentary event to the readers that are there.
func (f *feed) mention(topic, service string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hand(event{topic: topic, service: service, data: data})
}

func (f *feed) hand(e event) {
	for r := range f.readers {
		if !r.wants(e) {
			continue
		}
		select {
		case r.events <- e:
		default: // too slow: it will come back and get what it missed
			f.drop(r)
		}
	}
}

func (f *feed) drop(r *reader) {
	if _, there := f.readers[r]; there {
		delete(f.readers, r)
		close(r.events)
	}
}

// join opens a stream that goes on after the event with the id after ("" is
// from now on). reset says that events may be missing between the two.
func (f *feed) join(after string, topics []string, service string) (r *reader, missed []event, reset bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r = &reader{events: make(chan event, readerRoom), topics: topics, service: service}
	if f.closed {
		close(r.events)
		return r, nil, false
	}
	f.readers[r] = struct{}{}
	if after == "" {
		return r, nil, false
	}
	epoch, text, _ := strings.Cut(after, "-")
	sequence, err := strconv.ParseUint(text, 10, 64)
	oldest := f.last - uint64(len(f.ring)) // the event before the ring's first
	if err != nil || epoch != f.epoch || sequence < oldest || sequence > f.last {
		return r, nil, true
	}
	for _, e := range f.ring[sequence-oldest:] {
		if r.wants(e) {
			missed = append(missed, e)
		}
	}
	return r, missed, false
}

func (f *feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(r)
}

// wanted reports whether any reader wants the topic of the service.
func (f *feed) wanted(topic, service string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		if r.wants(event{topic: topic, service: service}) {
			return true
		}
	}
	return false
}

// close ends all streams, and those opened later.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for r := range f.readers {
		f.drop(r)
	}
}

// id of an event, as Last-Event-ID brings it back.
func (f *feed) id(sequence uint64) string {
	return f.epoch + "-" + strconv.FormatUint(sequence, 10)
}

// position is the id of the last event: where a new reader stands.
func (f *feed) position() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id(f.last)
}

func (r *reader) wants(e event) bool {
	return (len(r.topics) == 0 || slices.Contains(r.topics, e.topic)) &&
		(r.service == "" || e.service == "" || r.service == e.service)
}
