package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
)

// Intent is what the active scaler is about to do to a service, stored before it
// is done: whoever leads next reads it, and finishes or reverses it. It is kept
// as JSON.
type Intent struct {
	Epoch   int64     `json:"epoch"`  // of the scaler that meant it
	Number  int64     `json:"number"` // among those of this epoch and service: a later one stays, whatever arrives last
	At      time.Time `json:"at"`
	Ref     jobs.Ref  `json:"ref"`
	From    int       `json:"from"`
	To      int       `json:"to"`
	Victims []Victim  `json:"victims,omitempty"` // that lose their slots and are stopped
	Reason  string    `json:"reason"`            // of the decision that it carries out

	// For the story of the cold starts that it brings.
	Waiting int       `json:"waiting,omitempty"` // held requests
	Hold    time.Time `json:"hold,omitzero"`     // when the oldest of them was accepted; zero: none

	// Called says that a scale call may be on its way: from From to To, and only
	// on a job of this Index. Otherwise the victims are being drained.
	Called bool   `json:"called"`
	Index  uint64 `json:"index,omitempty"` // 0: the fleet has none, and its calls die with their sender
}

// Victim is a replica that is drained, or was when it was to be stopped.
type Victim struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"` // that it gets no new slots
}

// reckon moves the times of an intent, which are by the clock of whoever stored
// it, to this process's clock: age is how long ago that was by Redis' clock. A
// drain that a scaler began whose clock was an hour behind would else be over, and
// its requests cut.
func (i *Intent) reckon(now time.Time, age time.Duration) {
	ahead := now.Add(-age).Sub(i.At)
	i.At = i.At.Add(ahead)
	if !i.Hold.IsZero() {
		i.Hold = i.Hold.Add(ahead)
	}
	for v := range i.Victims {
		i.Victims[v].Since = i.Victims[v].Since.Add(ahead)
	}
}

// FencedError says that a scaler of a later epoch has claimed the service: the
// caller leads no more, whatever its clock says, and nothing was written.
type FencedError struct {
	Service string
	Epoch   int64 // the later one
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("%s belongs to the scaler of epoch %d", e.Service, e.Epoch)
}

// Claimed is what a scaler finds when it takes a service over; nil and zero are
// "nothing".
type Claimed struct {
	Memory  []byte
	Setting Setting
	Intent  *Intent
	// Recorded is what an earlier scaler has recorded of the present hour.
	Recorded *jobs.RecordedHour
	Shadow   *jobs.Shadow // the draft that runs beside its policy
	Unread   error        // an intent, a shadow or a record that cannot be decoded and is left out; it is of another version of the program
}

var (
	// claim raises the service's epoch and returns what is stored, in one step:
	// what an earlier scaler wrote before is in the answer, and what it tries to
	// write afterwards is refused.
	claim = redis.NewScript(`
local later = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if later > tonumber(ARGV[1]) then return {later} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
redis.call('HDEL', KEYS[1], 'number')
local time, stored, age = redis.call('TIME'), redis.call('HGET', KEYS[1], 'stored'), 0
if stored then age = math.max(0, tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(stored)) end
return {0, redis.call('HGET', KEYS[1], 'intent') or '', redis.call('GET', KEYS[2]) or '', redis.call('GET', KEYS[3]) or '', redis.call('GET', KEYS[4]) or '', redis.call('HGET', KEYS[5], 'draft') or '', age}`)

	// intend stores an intent unless a later epoch has claimed the service.
	intend = redis.NewScript(`
local later = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if later > tonumber(ARGV[1]) then return later end
local number = tonumber(redis.call('HGET', KEYS[1], 'number') or '0')
if later == tonumber(ARGV[1]) and number > tonumber(ARGV[3]) then return 0 end
local time = redis.call('TIME')
local stored = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'intent', ARGV[2], 'number', ARGV[3], 'stored', stored)
redis.call('PERSIST', KEYS[1])
return 0`)

	// remember stores the scaler's memory under the same condition.
	remember = redis.NewScript(`
local later = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if later > tonumber(ARGV[1]) then return later end
redis.call('SET', KEYS[2], ARGV[2])
return 0`)
)

// keepEpoch is how long the epoch of a service that is forgotten still fences.
const keepEpoch = 24 * time.Hour

// Claim makes a service that of the scaler of this epoch, and returns what
// earlier ones left. Error: a *FencedError, or the client's.
func (h *History) Claim(ctx context.Context, service string, epoch int64) (Claimed, error) {
	hour := jobs.RecordedHour{Start: time.Now().UTC().Truncate(time.Hour)}
	keys := []string{key(service, "intent"), key(service, "scaler"), key(service, "operator"), hourKey(service, hour.Start), key(service, "shadow")}
	parts, err := claim.Run(ctx, h.client, keys, epoch).Slice()
	if err != nil {
		return Claimed{}, fmt.Errorf("claim %s: %w", service, err)
	}
	if later, _ := parts[0].(int64); later > 0 {
		return Claimed{}, &FencedError{Service: service, Epoch: later}
	}
	text := func(i int) []byte {
		s, _ := parts[i].(string)
		return []byte(s)
	}
	var c Claimed
	if t := text(1); len(t) > 0 {
		var i Intent
		if err := json.Unmarshal(t, &i); err != nil {
			c.Unread = fmt.Errorf("decode intent of %s: %w", service, err)
		} else {
			age, _ := parts[6].(int64)
			i.reckon(time.Now(), time.Duration(age)*time.Millisecond)
			c.Intent = &i
		}
	}
	if t := text(4); len(t) > 0 {
		if err := hour.UnmarshalBinary(t); err != nil {
			c.Unread = errors.Join(c.Unread, fmt.Errorf("decode the recorded demand of %s: %w", service, err))
		} else {
			c.Recorded = &hour
		}
	}
	if t := text(5); len(t) > 0 {
		c.Shadow, err = decodeShadow(service, t)
		c.Unread = errors.Join(c.Unread, err)
	}
	if t := text(2); len(t) > 0 {
		c.Memory = t
	}
	if t := text(3); len(t) > 0 {
		if err := json.Unmarshal(t, &c.Setting); err != nil {
			return Claimed{}, fmt.Errorf("decode setting of %s: %w", service, err)
		}
	}
	return c, nil
}

// Intend stores what the scaler of i.Epoch is about to do, in place of what it
// meant before; one that comes late, after a later number, is dropped. Only once it has returned nil may it be done. Error: a
// *FencedError, or the client's; then it may have been stored all the same.
func (h *History) Intend(ctx context.Context, service string, i Intent) error {
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encode intent of %s: %w", service, err)
	}
	later, err := intend.Run(ctx, h.client, []string{key(service, "intent")}, i.Epoch, text, i.Number).Int64()
	if err != nil {
		return fmt.Errorf("store intent of %s: %w", service, err)
	}
	if later > 0 {
		return &FencedError{Service: service, Epoch: later}
	}
	return nil
}

// fenced returns the error that an answer of remember stands for.
func fenced(service string, cmd *redis.Cmd) error {
	later, err := cmd.Int64()
	if err == nil && later > 0 {
		return &FencedError{Service: service, Epoch: later}
	}
	return err
}

// Fenced reports whether err says that a later scaler has taken over, and its
// epoch.
func Fenced(err error) (epoch int64, ok bool) {
	var f *FencedError
	if errors.As(err, &f) {
		return f.Epoch, true
	}
	return 0, false
}
