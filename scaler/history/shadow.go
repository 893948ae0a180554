package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/scaler/decide"
)

const keepShadowSteps = 2000 // of a service

// ShadowEntry is what a shadow has decided since the last Write. It is dropped if
// another draft has been set since, or none is.
type ShadowEntry struct {
	ID        string // of the draft
	Standing  jobs.ShadowStanding
	Steps     []jobs.ShadowStep
	Decisions []decide.Decision
}

// shadowed stores what a shadow has decided unless a later epoch has claimed the
// service, or the draft is another: then it is dropped.
var shadowed = redis.NewScript(`
local later = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if later > tonumber(ARGV[1]) then return later end
if redis.call('HGET', KEYS[2], 'id') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'standing', ARGV[3])
local at = 5
for list = 3, 4 do
  local n = tonumber(ARGV[at])
  for i = 1, n do redis.call('ZADD', KEYS[list], ARGV[at + 2 * i - 1], ARGV[at + 2 * i]) end
  at = at + 2 * n + 1
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -ARGV[4] - 1)
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1001)
return 0`)

func shadowKeys(service string) (hash, steps, decisions string) {
	return key(service, "shadow"), key(service, "shadow:steps"), key(service, "shadow:decisions")
}

// writeShadow adds e to a pipeline.
func writeShadow(ctx context.Context, pipe redis.Pipeliner, service string, epoch int64, e *ShadowEntry) (*redis.Cmd, error) {
	standing, err := json.Marshal(e.Standing)
	if err != nil {
		return nil, fmt.Errorf("encode the shadow of %s: %w", service, err)
	}
	args := []any{epoch, e.ID, standing, keepShadowSteps, len(e.Steps)}
	for _, s := range e.Steps {
		text, err := json.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("encode the shadow of %s: %w", service, err)
		}
		args = append(args, s.At.UnixMilli(), text)
	}
	args = append(args, len(e.Decisions))
	for _, d := range e.Decisions {
		text, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("encode the shadow of %s: %w", service, err)
		}
		args = append(args, d.At.UnixMilli(), text)
	}
	hash, steps, decisions := shadowKeys(service)
	return shadowed.Eval(ctx, pipe, []string{key(service, "intent"), hash, steps, decisions}, args...), nil
}

// SetShadow lets a draft run beside the policy in force, in place of any other;
// what that one decided is forgotten. The active scaler begins at once.
func (h *History) SetShadow(ctx context.Context, service string, s jobs.Shadow) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the shadow of %s: %w", service, err)
	}
	hash, steps, decisions := shadowKeys(service)
	_, err = h.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Del(ctx, hash, steps, decisions)
		pipe.HSet(ctx, hash, "id", s.ID, "draft", text)
		return nil
	})
	if err != nil {
		return fmt.Errorf("set the shadow of %s: %w", service, err)
	}
	return h.client.Publish(ctx, operateChannel, service).Err()
}

// RemoveShadow ends a shadow and forgets what it decided; false if there is none.
func (h *History) RemoveShadow(ctx context.Context, service string) (bool, error) {
	hash, steps, decisions := shadowKeys(service)
	n, err := h.client.Del(ctx, hash, steps, decisions).Result()
	if err != nil {
		return false, fmt.Errorf("remove the shadow of %s: %w", service, err)
	}
	return n > 0, h.client.Publish(ctx, operateChannel, service).Err()
}

// Shadow returns the draft that runs beside the policy of a service and how it
// stands; nil and nil if there is none, nil for the second if it has not decided
// yet.
func (h *History) Shadow(ctx context.Context, service string) (*jobs.Shadow, *jobs.ShadowStanding, error) {
	hash, _, _ := shadowKeys(service)
	texts, err := h.client.HMGet(ctx, hash, "draft", "standing").Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read the shadow of %s: %w", service, err)
	}
	draft, there := texts[0].(string)
	if !there {
		return nil, nil, nil
	}
	s, err := decodeShadow(service, []byte(draft))
	if err != nil {
		return nil, nil, err
	}
	text, there := texts[1].(string)
	if !there {
		return s, nil, nil
	}
	var standing jobs.ShadowStanding
	if err := json.Unmarshal([]byte(text), &standing); err != nil {
		return nil, nil, fmt.Errorf("decode how the shadow of %s stands: %w", service, err)
	}
	return s, &standing, nil
}

// ShadowDraft is the draft of Shadow alone.
func (h *History) ShadowDraft(ctx context.Context, service string) (*jobs.Shadow, error) {
	hash, _, _ := shadowKeys(service)
	text, err := h.client.HGet(ctx, hash, "draft").Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the shadow of %s: %w", service, err)
	}
	return decodeShadow(service, text)
}

func decodeShadow(service string, text []byte) (*jobs.Shadow, error) {
	var s jobs.Shadow
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("decode the shadow of %s: %w", service, err)
	}
	return &s, nil
}

// ShadowSteps returns when a shadow and the policy in force wanted another count,
// oldest first, at most limit of the newest (0: all that are kept).
func (h *History) ShadowSteps(ctx context.Context, service string, limit int) ([]jobs.ShadowStep, error) {
	_, from, _ := shadowKeys(service)
	steps, err := newest[jobs.ShadowStep](ctx, h.client, from, limit)
	slices.Reverse(steps)
	return steps, err
}

// ShadowDecisions returns what a shadow has decided, newest first, at most limit
// of it (0: all that is kept).
func (h *History) ShadowDecisions(ctx context.Context, service string, limit int) ([]decide.Decision, error) {
	_, _, from := shadowKeys(service)
	return newest[decide.Decision](ctx, h.client, from, limit)
}
