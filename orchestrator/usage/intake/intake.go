// Package intake receives the posts of Ceilometer, and stores their samples in the database. While the database is away, it keeps the posts in
// a spool on disk.
package intake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/orchestrator/groupcommit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/orchestrator/usage/ceilometer"
	"github.com/tenantry/tenantry/orchestrator/usage/spool"
)

var errAway = fmt.Errorf("%w: it was away a moment ago", saga.ErrUnavailable)

const (
	// KeepSamples is the time for which samples are kept. A sample that is older when it arrives is not used: it could be the repetition of a
	// sample that was stored and removed.
	KeepSamples = 35 * 24 * time.Hour
	// maxAhead is the time by which a sample may be in the future, because the clocks of hosts differ.
	maxAhead = time.Hour
	// storeTime is the time limit for a transaction that stores posts. A post waits for at most two transactions, and Ceilometer waits for the
	// answer for 5 s.
	storeTime = 1500 * time.Millisecond
	// retryIn is the time for which posts go to the spool after a transaction has failed. Then the database is tried again.
	retryIn = time.Second
	// keepApart is the time for which samples that cannot be used are kept.
	keepApart = 30 * 24 * time.Hour
	// cleanEvery is the interval between two deletions of old samples.
	cleanEvery = time.Hour
	// drainEvery is the interval between two attempts to empty the spool.
	drainEvery = time.Second
	// maxApart is the maximum number of unusable samples of a post that are kept. Of further ones, only the first is kept, and their number.
	maxApart = 1000
	// maxGroup is the maximum number of posts that share a transaction.
	maxGroup = 32
)

// Spool keeps posts on disk: see package spool.
type Spool interface {
	Append(record []byte) error
	Drain(ctx context.Context, take func(record []byte) error) error
	Len() int64
}

// Intake receives posts. Set the fields before the first use. Intake is safe for concurrent use.
type Intake struct {
	Store usage.Store
	Spool Spool // nil: there is no spool
	Now   func() time.Time
	Fault func(error) // called with errors that an operator should know

	group groupcommit.Group[usage.Batch, error]
	away  atomic.Int64 // until this time, posts go to the spool; in microseconds
}

// New returns an Intake. The parameter `records` is the spool, and may be nil.
func New(store usage.Store, records Spool, now func() time.Time, fault func(error)) *Intake {
	i := &Intake{Store: store, Spool: records, Now: now, Fault: fault}
	i.group.Commit, i.group.Max = i.commit, maxGroup
	return i
}

// Take stores a post of a cloud's Ceilometer. When Take returns nil, the post is in the database or in the spool. Take may be repeated with the
// same post: its samples are stored once.
func (i *Intake) Take(ctx context.Context, cloud string, body []byte) (usage.Receipt, error) {
	batch, receipt, err := i.decode(cloud, body)
	if err != nil || receipt.Samples+receipt.Apart == 0 {
		return receipt, err
	}
	failed := errAway
	if i.Spool == nil || i.Now().UnixMicro() >= i.away.Load() {
		failed = i.add(ctx, batch)
	}
	switch {
	case failed == nil:
		return receipt, nil
	case ctx.Err() != nil: // Ceilometer has hung up
		return receipt, context.Cause(ctx)
	case i.Spool == nil:
		return receipt, fmt.Errorf("%w: %w", usage.ErrFull, failed)
	}
	receipt.Spooled = true
	err = i.Spool.Append(record(cloud, body))
	if errors.Is(err, spool.ErrFull) {
		err = fmt.Errorf("%w: %w", usage.ErrFull, failed)
	}
	return receipt, err
}

// The method `decode` returns the samples of a post. Samples that are too old or in the future are kept apart.
func (i *Intake) decode(cloud string, body []byte) (b usage.Batch, receipt usage.Receipt, err error) {
	decoded, err := ceilometer.Decode(cloud, body)
	if err != nil {
		return b, receipt, fmt.Errorf("%w: %w", usage.ErrNotJSON, err)
	}
	now := i.Now()
	for _, a := range decoded.Apart {
		b.Apart = append(b.Apart, usage.Apart{Cloud: cloud, Reason: a.Reason, Raw: a.Raw})
	}
	for _, s := range decoded.Samples {
		reason := ""
		switch {
		case s.At.Before(now.Add(-KeepSamples)):
			reason = "the sample is older than 35 days"
		case s.At.After(now.Add(maxAhead)):
			reason = "the time of the sample is more than an hour in the future"
		}
		if reason != "" {
			b.Apart = append(b.Apart, usage.Apart{Cloud: cloud, Reason: reason, Raw: describe(s)})
			continue
		}
		b.Samples = append(b.Samples, s)
	}
	apart := len(b.Apart)
	if apart > maxApart {
		more := usage.Apart{Cloud: cloud, Reason: fmt.Sprintf("%d more samples of the post cannot be used", apart-maxApart), Raw: b.Apart[maxApart].Raw}
		b.Apart = append(b.Apart[:maxApart:maxApart], more)
	}
	return b, usage.Receipt{Samples: len(b.Samples), Apart: apart, Events: decoded.Events}, nil
}

// The method `add` stores a batch, together with the batches of other callers. If the batches cannot be stored together, each is stored alone.
func (i *Intake) add(ctx context.Context, b usage.Batch) error {
	failed, err := i.group.Do(ctx, b)
	if err != nil {
		return err
	}
	return failed
}

func (i *Intake) commit(ctx context.Context, group []usage.Batch) []error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	var all usage.Batch
	for _, b := range group {
		all.Samples, all.Apart = append(all.Samples, b.Samples...), append(all.Apart, b.Apart...)
	}
	results := make([]error, len(group))
	_, err := i.Store.Add(ctx, i.Now(), all)
	for n, b := range group {
		if results[n] = err; errors.Is(err, saga.ErrBadRow) && len(group) > 1 {
			_, results[n] = i.Store.Add(ctx, i.Now(), b)
		}
	}
	if away(err) {
		i.away.Store(i.Now().Add(retryIn).UnixMicro())
	}
	return results
}

// The function `away` reports whether an error of the store may go away: the database refuses only an ErrBadRow for good.
func away(err error) bool { return err != nil && !errors.Is(err, saga.ErrBadRow) }

// Serve empties the spool whenever the database can be reached, and deletes old samples every hour, until ctx ends.
func (i *Intake) Serve(ctx context.Context) {
	timer := time.NewTicker(drainEvery)
	defer timer.Stop()
	var cleaned time.Time
	for {
		if now := i.Now(); now.Sub(cleaned) > cleanEvery {
			cleaned = now
			if err := i.Store.DeleteOld(ctx, now.Add(-KeepSamples), now.Add(-keepApart)); err != nil && ctx.Err() == nil {
				i.Fault(fmt.Errorf("deleting old samples: %w", err))
			}
		}
		if i.Spool != nil && i.Spool.Len() > 0 {
			if err := i.Spool.Drain(ctx, func(record []byte) error { return i.restore(ctx, record) }); err != nil && !away(err) && ctx.Err() == nil {
				i.Fault(fmt.Errorf("emptying the spool of samples: %w", err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// The method `restore` stores a post from the spool. A post that the database refuses for another reason than an outage would be refused again.
// It is then kept apart, so that it does not block the posts behind it.
func (i *Intake) restore(ctx context.Context, record []byte) error {
	cloud, body, err := fromRecord(record)
	var b usage.Batch
	if err == nil {
		b, _, err = i.decode(cloud, body)
	}
	if err == nil {
		if _, err = i.Store.Add(ctx, i.Now(), b); err == nil || away(err) || ctx.Err() != nil {
			return err
		}
	}
	i.Fault(fmt.Errorf("a post from the spool cannot be stored, and is kept apart: %w", err))
	_, err = i.Store.Add(ctx, i.Now(), usage.Batch{Apart: []usage.Apart{{Cloud: cloud, Reason: "the post could not be stored", Raw: cut(body)}}})
	return err
}

// The function `record` returns the spool's record of a post.
func record(cloud string, body []byte) []byte {
	r := binary.AppendUvarint(nil, uint64(len(cloud)))
	return append(append(r, cloud...), body...)
}

func fromRecord(record []byte) (cloud string, body []byte, err error) {
	n, size := binary.Uvarint(record)
	rest := record[max(size, 0):]
	if size <= 0 || n > uint64(len(rest)) {
		return "", record, errors.New("the record has no name of a cloud")
	}
	return string(rest[:n]), rest[n:], nil
}
