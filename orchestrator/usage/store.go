package usage

import (
	"context"
	"errors"
	"time"
)

// ErrNoKey means that there is no such meter key.
var ErrNoKey = errors.New("no such meter key")

// Keys stores meter keys.
type Keys interface {
	// CreateMeterKey stores a new key.
	CreateMeterKey(ctx context.Context, k MeterKey) error
	// MeterKey reads a key by its public part, or returns ErrNoKey. A revoked key is returned, too.
	MeterKey(ctx context.Context, key string) (MeterKey, error)
	// MeterKeys reads all keys, oldest first.
	MeterKeys(ctx context.Context) ([]MeterKey, error)
	// RevokeMeterKey revokes a key, and returns it. RevokeMeterKey may be repeated: the key keeps the time of its first revocation. If there
	// is no such key, the error is ErrNoKey.
	RevokeMeterKey(ctx context.Context, key string, now time.Time) (MeterKey, error)
}

// Store stores samples.
type Store interface {
	// Add stores the fields Samples and Apart of a batch, in one transaction. Add may be repeated with the same batch: a sample is stored once.
	// If a sample belongs to a project that no run has made or adopted, the sample is only counted for its meter, and a repeated Add counts it
	// again. Meters are limited to 1,000 for each cloud: the samples of further meters are counted together. Each other sample makes hours due:
	// the hours to which the sample may contribute.
	Add(ctx context.Context, now time.Time, b Batch) (Added, error)
	// Received records that samples of a cloud were received at a time. If a later time is recorded already, Received changes nothing.
	Received(ctx context.Context, cloud string, at time.Time) error
	// DeleteOld deletes the samples whose day ended before the time `samples`, and the series that no longer have samples. It also deletes the
	// samples of the type Apart that were received before the time `apart`, and the unmatched usage whose last hour began before the time
	// `apart`. DeleteOld may be repeated.
	DeleteOld(ctx context.Context, samples, apart time.Time) error
}

// Errors of an intake of samples.
var (
	// ErrNotJSON means that a post is not JSON, and therefore contains no sample. Nothing was stored.
	ErrNotJSON = errors.New("the body is not a JSON array of samples")
	// ErrFull means that the database is down, and that the spool is full or missing. Nothing was stored.
	ErrFull = errors.New("the database is down, and the spool is full or missing")
)

// Receipt contains the numbers of samples and events in a post.
type Receipt struct {
	Samples int  // samples that can be used
	Apart   int  // samples that cannot be used, and are kept apart
	Events  int  // events, which are dropped
	Spooled bool // the post is in the spool, because the database is down
}

// Batch contains the samples of one or several posts.
type Batch struct {
	Samples []Sample
	Apart   []Apart
}

// Apart is a sample that cannot be used. It is kept for some time, so that a person can look at it.
type Apart struct {
	Cloud  string
	Reason string
	Raw    string // the sample as it was received, as JSON, cut to 4 KiB
}

// Added contains the numbers of samples of a batch.
type Added struct {
	Stored  int // samples that are new
	Known   int // samples that were stored before
	Foreign int // samples of projects that no run has made or adopted; they are counted and dropped
}
