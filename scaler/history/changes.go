package history

import (
	"context"
	"strings"

	"github.com/pilotlight/pilotlight/internal/subscribe"
)

// Changes calls fn with a topic and the service it is about after each write,
// in order and never concurrently, and with (TopicStatus, "") at first and
// after each reconnection: then anything may have changed. It blocks until ctx
// ends and returns nil.
func (h *History) Changes(ctx context.Context, fn func(topic, service string)) error {
	return subscribe.Follow(ctx, h.client, changesChannel, nil,
		func() { fn(TopicStatus, "") },
		func(payload string) {
			if topic, service, ok := strings.Cut(payload, " "); ok {
				fn(topic, service)
			}
		})
}

// Operated calls fn with the name of a service after an operator's command for
// it, and with "" at first and after each reconnection. It blocks until ctx
// ends and returns nil.
func (h *History) Operated(ctx context.Context, fn func(service string)) error {
	return subscribe.Follow(ctx, h.client, operateChannel, nil, func() { fn("") }, fn)
}
