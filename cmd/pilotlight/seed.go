package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/policies"
)

// textsOf a file, by policy name, as they are written.
func textsOf(f policies.File) map[string]string {
	out := map[string]string{}
	for i, p := range f.Policies {
		out[p.Name] = f.Sources[i]
	}
	return out
}

// sayUnread logs which policy files below a folder were passed over.
func sayUnread(dir string, log *slog.Logger) {
	if left := policies.Unread(dir); len(left) > 0 {
		log.Warn("policies in subfolders are not read", "reason", firstFew(left))
	}
}

// seedTexts saves the policies that the store does not have; safe when several
// processes start at once.
func seedTexts(ctx context.Context, client redis.UniversalClient, texts map[string]string, comment string, log *slog.Logger) error {
	store := policies.NewRedis(client)
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		_, err := store.Get(ctx, name)
		var unreadable *policies.UnreadableError
		if err == nil || errors.As(err, &unreadable) { // it is there, valid here or not
			continue
		}
		if !errors.Is(err, policies.ErrNotFound) {
			return fmt.Errorf("read policy %s: %w", name, err)
		}
		_, err = store.Put(ctx, name, texts[name], 0, "start", comment)
		var lost *policies.ConflictError
		switch {
		case err == nil:
			log.Info("policy applied", "service", name, "reason", comment)
		case errors.Is(err, policies.ErrExists), errors.As(err, &lost): // another process was first, or it was deleted
		default:
			return fmt.Errorf("apply policy %s: %w", name, err)
		}
	}
	return nil
}
