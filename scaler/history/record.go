package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/jobs"
)

// KeepRecorded is how long recorded demand is kept: two weeks, and the day that
// has begun.
const KeepRecorded = 15 * 24 * time.Hour

const readHours = 48 // recorded hours that are read at once

// RecordedHour is an hour of recorded demand as it is stored.
type RecordedHour struct {
	Start time.Time
	Data  []byte // see jobs.RecordedHour
}

// record stores an hour in place of what was known of it, unless a later scaler
// has claimed the service.
var record = redis.NewScript(`
local later = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if later > tonumber(ARGV[1]) then return later end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return 0`)

func hourKey(service string, start time.Time) string {
	return key(service, "demand:"+start.UTC().Format("2006010215"))
}

func dayKey(day time.Time) string { return "pl:recorded:" + day.UTC().Format("20060102") }

// Recorded returns what was asked of a service in the hours from from to to,
// oldest first; hours without demand, or of which nothing is kept, are left out.
func (h *History) Recorded(ctx context.Context, service string, from, to time.Time) ([]jobs.RecordedHour, error) {
	var hours []jobs.RecordedHour
	from = from.UTC().Truncate(time.Hour)
	for len := to.Sub(from); len > 0; len = to.Sub(from) {
		n := min(int((len+time.Hour-1)/time.Hour), readHours)
		keys := make([]string, n)
		for i := range keys {
			keys[i] = hourKey(service, from.Add(time.Duration(i)*time.Hour))
		}
		texts, err := h.client.MGet(ctx, keys...).Result()
		if err != nil {
			return nil, fmt.Errorf("read the recorded demand of %s: %w", service, err)
		}
		for i, text := range texts {
			data, stored := text.(string)
			if !stored {
				continue
			}
			hour := jobs.RecordedHour{Start: from.Add(time.Duration(i) * time.Hour)}
			if err := hour.UnmarshalBinary([]byte(data)); err != nil {
				return nil, fmt.Errorf("read the demand of %s recorded from %s: %w", service, hour.Start.Format(time.RFC3339), err)
			}
			hours = append(hours, hour)
		}
		from = from.Add(time.Duration(n) * time.Hour)
	}
	return hours, nil
}

// MarkRecorded notes that a scaler was there to record in the minute of at, for
// all services at once.
func (h *History) MarkRecorded(ctx context.Context, at time.Time) error {
	at = at.UTC()
	pipe := h.client.Pipeline()
	pipe.SetBit(ctx, dayKey(at), int64(at.Hour()*60+at.Minute()), 1)
	pipe.Expire(ctx, dayKey(at), KeepRecorded)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("note that demand is recorded: %w", err)
	}
	return nil
}

// Covered returns in how many minutes from from to to a scaler was there to
// record. In the others nobody knows what was asked.
func (h *History) Covered(ctx context.Context, from, to time.Time) (time.Duration, error) {
	var minutes time.Duration
	from, to = from.UTC(), to.UTC()
	for day := from.Truncate(24 * time.Hour); day.Before(to); day = day.Add(24 * time.Hour) {
		bits, err := h.client.Get(ctx, dayKey(day)).Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, fmt.Errorf("read when demand was recorded: %w", err)
		}
		for i := range len(bits) * 8 {
			at := day.Add(time.Duration(i) * time.Minute)
			if bits[i/8]&(0x80>>(i%8)) != 0 && !at.Before(from.Truncate(time.Minute)) && at.Before(to) {
				minutes++
			}
		}
	}
	return minutes * time.Minute, nil
}
