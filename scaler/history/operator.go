package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

// ErrBadCommand says that a command has an unknown verb or a negative number of
// replicas.
var ErrBadCommand = errors.New("not a command")

// Setting is everything that operators have told the scaler about one service,
// added up.
type Setting struct {
	Operator decide.Operator `json:"operator"`
	Last     jobs.Command    `json:"last"` // zero: none so far

	// Commands counts those so far, and Recent are the newest of them, oldest
	// first: the scaler records each among the decisions, those too that were
	// given while there was none.
	Commands int            `json:"commands"`
	Recent   []jobs.Command `json:"recent,omitempty"`

	// When an operator last said what is to become of a count, and of a job that
	// somebody stopped: what happened in the fleet before that is settled by it,
	// also if no scaler was there to see it.
	Pinned  time.Time `json:"pinned_at,omitzero"`  // pin or unpin
	Resumed time.Time `json:"resumed_at,omitzero"` // resume
}

// keepRecent bounds Setting.Recent.
const keepRecent = 20

// Since returns the commands after the first n, as far as they are kept.
func (s Setting) Since(n int) []jobs.Command {
	return s.Recent[max(0, len(s.Recent)-max(0, s.Commands-n)):]
}

// InEffect is what operators have set, with the words of the command that it is
// in force by: of several, pause comes before pin and pin before sleep, as for the
// decision. Somebody who pinned is not named for what another has paused since.
func (s Setting) InEffect() decide.Operator {
	o, verb := s.Operator, ""
	switch {
	case o.Paused:
		verb = jobs.VerbPause
	case o.Pinned != nil:
		verb = jobs.VerbPin
	case o.Asleep:
		verb = jobs.VerbSleep
	case !o.WakeAt.IsZero():
		verb = jobs.VerbWake
	default:
		return o
	}
	cmd := s.latest(verb) // zero if that was too long ago to be known
	o.By, o.Reason = cmd.By, cmd.Reason
	return o
}

// Pause is the command by which the service is paused now; zero if it is not, or
// if that was too many commands ago to be known.
func (s Setting) Pause() jobs.Command {
	if !s.Operator.Paused {
		return jobs.Command{}
	}
	return s.latest(jobs.VerbPause)
}

// latest is the newest command of that verb that is kept, zero if none is.
func (s Setting) latest(verb string) jobs.Command {
	for _, cmd := range slices.Backward(s.Recent) {
		if cmd.Verb == verb {
			return cmd
		}
	}
	return jobs.Command{}
}

// Apply returns the setting after one more command, ErrBadCommand if it is none.
func (s Setting) Apply(cmd jobs.Command) (Setting, error) {
	o := &s.Operator
	switch cmd.Verb {
	case jobs.VerbWake:
		o.WakeAt, o.Asleep = cmd.At, false
	case jobs.VerbSleep:
		o.WakeAt, o.Asleep, o.SleepAt = time.Time{}, true, cmd.At
	case jobs.VerbPause:
		o.Paused = true
	case jobs.VerbResume:
		o.Paused, o.Asleep, s.Resumed = false, false, cmd.At
	case jobs.VerbPin:
		if cmd.Replicas < 0 {
			return s, fmt.Errorf("pin %d replicas: %w", cmd.Replicas, ErrBadCommand)
		}
		o.Pinned, s.Pinned = &cmd.Replicas, cmd.At
	case jobs.VerbUnpin:
		o.Pinned, s.Pinned = nil, cmd.At
	default:
		return s, fmt.Errorf("%q: %w", cmd.Verb, ErrBadCommand)
	}
	o.Reason, o.By, s.Last = cmd.Reason, cmd.By, cmd
	s.Commands++
	s.Recent = append(slices.Clone(s.Recent[max(0, len(s.Recent)-keepRecent+1):]), cmd)
	return s, nil
}

// replace sets the operator key if it still has the text it was read with.
var replace = redis.NewScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`)

// beforeCommand reads the operator key and Redis' clock, in milliseconds.
var beforeCommand = redis.NewScript(`
local time = redis.call('TIME')
return {redis.call('GET', KEYS[1]) or '', time[1] * 1000 + math.floor(time[2] / 1000)}`)

// Operate carries out an operator's command and returns it as it is recorded; the
// active scaler obeys it at once, or the next one when it becomes active. Its At is
// the moment by Redis' clock, whatever cmd.At and the clock of this process say:
// commands that different processes took are compared with each other. If it
// returns an error, the command may have been recorded all the same.
func (h *History) Operate(ctx context.Context, service string, cmd jobs.Command) (jobs.Command, error) {
	for ctx.Err() == nil {
		reply, err := beforeCommand.Run(ctx, h.client, []string{key(service, "operator")}).Slice()
		if err != nil {
			return cmd, fmt.Errorf("read setting of %s: %w", service, err)
		}
		before, _ := reply[0].(string)
		at, _ := reply[1].(int64)
		cmd.At = time.UnixMilli(at).UTC()
		setting, err := decodeSetting(service, before)
		if err != nil {
			return cmd, err
		}
		setting, err = setting.Apply(cmd)
		if err != nil {
			return cmd, fmt.Errorf("operate %s: %w", service, err)
		}
		after, err := json.Marshal(setting)
		if err != nil {
			return cmd, fmt.Errorf("encode setting of %s: %w", service, err)
		}
		done, err := replace.Run(ctx, h.client, []string{key(service, "operator")}, before, after).Int()
		if err != nil {
			return cmd, fmt.Errorf("operate %s: %w", service, err)
		}
		if done == 1 {
			return cmd, h.client.Publish(ctx, operateChannel, service).Err()
		}
		// Another operator was faster; their commands add up.
	}
	return cmd, ctx.Err()
}

// Setting returns what operators have set for a service, the zero Setting if
// nothing.
func (h *History) Setting(ctx context.Context, service string) (Setting, error) {
	text, err := h.client.Get(ctx, key(service, "operator")).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return Setting{}, fmt.Errorf("read setting of %s: %w", service, err)
	}
	return decodeSetting(service, text)
}

// decodeSetting reads what Operate wrote; "" is nothing.
func decodeSetting(service, text string) (s Setting, err error) {
	if text == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("decode setting of %s: %w", service, err)
	}
	return s, nil
}
