package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

const (
	// freshKey is the time for which a key is used without reading it again. A revoked key is accepted for this time.
	freshKey = 30 * time.Second
	// staleKey is the time for which a key is used while it cannot be read, because the database is down.
	staleKey = 24 * time.Hour
	// keyTime is the time limit for reading a key.
	keyTime = 1500 * time.Millisecond
	// askAgain is the interval between attempts to read a key while the database cannot be reached.
	askAgain = 5 * time.Second
	// maxKeys is the maximum number of keys in memory.
	maxKeys = 1000
)

// Keys checks meter keys. It keeps the keys that it has read, so that Ceilometer can post samples while the database is down.
type Keys struct {
	store usage.Keys
	now   func() time.Time

	mu    sync.Mutex
	known map[string]knownKey // by the public part
}

type knownKey struct {
	usage.MeterKey

	readAt time.Time
	askAt  time.Time // when the key must be read again
}

// NewKeys returns a Keys without keys in memory.
func NewKeys(store usage.Keys, now func() time.Time) *Keys {
	return &Keys{store: store, now: now, known: map[string]knownKey{}}
}

// Cloud returns the cloud of a key. If there is no such key, if the key is revoked, or if the secret is wrong, the error is usage.ErrNoKey.
func (k *Keys) Cloud(ctx context.Context, key, secret string) (string, error) {
	found, err := k.read(ctx, key)
	if err == nil && !found.Accepts(secret) {
		err = usage.ErrNoKey
	}
	if err != nil {
		return "", err
	}
	return found.Cloud, nil
}

func (k *Keys) read(ctx context.Context, key string) (usage.MeterKey, error) {
	now := k.now()
	k.mu.Lock()
	known, found := k.known[key]
	usable := found && now.Before(known.readAt.Add(staleKey))
	if usable && !now.Before(known.askAt) { // this call reads the key, and the other calls do not wait for it
		again := known
		again.askAt = now.Add(askAgain)
		k.known[key] = again
	}
	k.mu.Unlock()
	if usable && now.Before(known.askAt) {
		return known.MeterKey, nil
	}
	ctx, cancel := context.WithTimeout(ctx, keyTime)
	defer cancel()
	read, err := k.store.MeterKey(ctx, key)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case errors.Is(err, usage.ErrNoKey):
		delete(k.known, key)
		return usage.MeterKey{}, err
	case err != nil && usable:
		return known.MeterKey, nil
	case err != nil:
		return usage.MeterKey{}, err
	}
	if len(k.known) >= maxKeys {
		clear(k.known)
	}
	k.known[key] = knownKey{read, now, now.Add(freshKey)}
	return read, nil
}
