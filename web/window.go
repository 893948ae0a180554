package web

import (
	"fmt"
	"net/url"
	"time"
)

// What can be asked for of recorded demand.
const (
	usualWindow    = 7 * 24 * time.Hour
	longestWindow  = 15 * 24 * time.Hour // as long as it is kept
	shortestWindow = time.Minute
)

var windowParams = []parameter{
	{in: "query", name: "last", kind: "string", about: `how much of what was recorded, such as 24h; 1m to 360h; default 168h, up to now or to "to"`},
	{in: "query", name: "from", kind: "string", about: "instead of last: from when, RFC 3339"},
	{in: "query", name: "to", kind: "string", about: "until when, RFC 3339; default now"},
}

// window is a stretch of recorded time, in whole minutes.
type window struct{ from, to time.Time }

func (w window) long() time.Duration { return w.to.Sub(w.from) }

// windowOf reads last, from and to.
func windowOf(q url.Values, now time.Time) (window, error) {
	w := window{to: now}
	moment := func(name string, into *time.Time) error {
		text := q.Get(name)
		if text == "" {
			return nil
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return badRequest(fmt.Sprintf("%s is %s; allowed: a moment such as 2026-11-21T09:00:00Z", name, quoteName(text)))
		}
		*into = t
		return nil
	}
	if err := moment("to", &w.to); err != nil {
		return w, err
	}
	if err := moment("from", &w.from); err != nil {
		return w, err
	}
	switch last := q.Get("last"); {
	case last != "" && !w.from.IsZero():
		return w, badRequest("last and from are both given; allowed: one of them")
	case last != "":
		d, err := time.ParseDuration(last)
		if err != nil || d < shortestWindow || d > longestWindow {
			return w, badRequest(fmt.Sprintf("last is %s; allowed: 1m to 360h, such as 24h", quoteName(last)))
		}
		w.from = w.to.Add(-d)
	case w.from.IsZero():
		w.from = w.to.Add(-usualWindow)
	}
	w.from, w.to = w.from.UTC().Truncate(time.Minute), w.to.UTC().Add(time.Minute-1).Truncate(time.Minute)
	switch {
	case w.long() < shortestWindow:
		return w, badRequest("from is not before to")
	case w.long() > longestWindow+time.Minute:
		return w, badRequest("from to to is longer than 360h, for which demand is kept")
	}
	return w, nil
}
