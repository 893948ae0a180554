package policies

import (
	"context"
	"encoding/json"
)

// Plant stores v as it is, as another version of the program would have.
func (m *Memory) Plant(_ context.Context, v Version) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.versions[v.Name] = append(m.versions[v.Name], v)
	return nil
}

// Plant stores v as it is, as another version of the program would have.
func (s *Redis) Plant(ctx context.Context, v Version) error {
	raw, err := json.Marshal(record{Version: v})
	if err != nil {
		return err
	}
	if err := s.client.LPush(ctx, keyVersions+v.Name, raw).Err(); err != nil {
		return err
	}
	return s.client.HSet(ctx, keyCurrent, v.Name, raw).Err()
}
