// Package intake receives the posts of Ceilometer, and stores their samples in the database. While the database is down, it keeps the posts in
// a spool on disk.
package intake

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/orchestrator/groupcommit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/orchestrator/usage/ceilometer"
	"github.com/tenantry/tenantry/orchestrator/usage/spool"
)

var (
	errAway = fmt.Errorf("%w: it was down a moment ago", saga.ErrUnavailable)
	errLate = fmt.Errorf("%w: it has not stored the post within 2 s", saga.ErrUnavailable)
)

// refusal is the reason of a sample that the database refuses.
const refusal = "the database refuses the sample"

const (
	// MaxAge is the maximum age of a sample when its post is received. An older sample is not used: it could be the repetition of a sample that
	// was stored and removed.
	MaxAge = 35 * 24 * time.Hour
	// maxStored is the maximum age of a sample when it leaves the spool. The hours of an older sample are not computed again. The maximum is longer
	// than MaxAge, because clocks differ, and a post may wait in the spool.
	maxStored = usage.MaxHourAge
	// keepSamples is the time for which samples are kept. It is a day longer than the time for which samples are read, because clocks differ.
	keepSamples = usage.MaxHourAge + 24*time.Hour
	// maxAhead is the time by which a sample may be in the future, because the clocks of hosts differ.
	maxAhead = time.Hour
	// storeTime is the time limit for the transactions that store a group of posts.
	storeTime = 1500 * time.Millisecond
	// takeTime is the time for which a post waits for its transaction. Before this time begins, reading the key takes at most keyTime.
	// Ceilometer waits for the answer for 5 s.
	takeTime = 2 * time.Second
	// retryIn is the time for which the posts of a cloud go to the spool after a transaction with its posts has failed. After this time, the
	// database is tried again.
	retryIn = time.Second
	// keepApart is the time for which samples that cannot be used are kept.
	keepApart = 30 * 24 * time.Hour
	// cleanEvery is the interval between two deletions of old samples. cleanTime is the time limit of a deletion. cleanAgain is the time after which a
	// failed deletion is repeated.
	cleanEvery = time.Hour
	cleanTime  = 10 * time.Minute
	cleanAgain = time.Minute
	// reportEvery is the interval between two reports of an outage, for each cloud.
	reportEvery = time.Minute
	// noteEvery is the interval between two records of the time at which samples of a cloud were last received.
	noteEvery = 10 * time.Second
	// drainEvery is the interval between two attempts to empty the spool.
	drainEvery = time.Second
	// maxApart is the maximum number of unusable samples of a post that are kept. Of the further samples, only the first one and the number of these
	// samples are kept.
	maxApart = 1000
	// maxGroup is the maximum number of posts that share a transaction. maxSamples is the maximum number of the samples in these posts. A post with
	// more samples has a transaction of its own.
	maxGroup   = 32
	maxSamples = 5000
)

// Spool keeps the posts of each cloud on disk: see spool.Shared. An owner is a cloud.
type Spool interface {
	Join(owner string)
	Append(owner string, record []byte) error
	Drain(ctx context.Context, owner string, take func(record []byte) error) error
	Waiting() []string
	Len(owner string) int64
}

// Intake receives posts. Set the fields before the first use. Intake is safe for concurrent use.
type Intake struct {
	Store usage.Store
	Spool Spool // nil: there is no spool
	// Meters states the right kind of each meter whose samples have a wrong kind.
	Meters usage.Meters
	Now    func() time.Time
	Fault  func(error) // called with errors that an operator should know

	mu    sync.Mutex
	lines map[string]*line // by cloud; the number of lines is bounded, because posts need the meter key of a cloud
}

// The type `line` stores the posts of one cloud. Each cloud has its own queue. Suppose that a cloud sends too much, or that its posts cannot be
// stored. This does not delay the posts of the other clouds, and does not send them to the spool. If the database is down, each queue notices it
// separately: each queue then tries to store a post once a second.
type line struct {
	group    groupcommit.Group[usage.Batch, error]
	away     atomic.Int64          // until this time, posts go to the spool; in microseconds
	reported atomic.Int64          // the time of the last report of an outage; in microseconds
	draining atomic.Bool           // a goroutine empties the spool
	moves    atomic.Bool           // this goroutine has moved a post to the database
	refused  atomic.Pointer[error] // why the last post was refused; nil if it was stored
	received atomic.Int64          // the time of the last post with samples that was stored; in microseconds
}

// The method `note` remembers when a post with samples was received.
func (l *line) note(received time.Time) {
	for at := received.UnixMicro(); ; {
		known := l.received.Load()
		if known >= at || l.received.CompareAndSwap(known, at) {
			return
		}
	}
}

// New returns an Intake. The parameter `records` is the spool, and may be nil.
func New(store usage.Store, records Spool, now func() time.Time, fault func(error)) *Intake {
	return &Intake{Store: store, Spool: records, Now: now, Fault: fault, lines: map[string]*line{}}
}

// The method `line` returns the line of a cloud.
func (i *Intake) line(cloud string) *line {
	i.mu.Lock()
	defer i.mu.Unlock()
	l := i.lines[cloud]
	if l == nil {
		l = &line{}
		l.group.Max, l.group.MaxWeight = maxGroup, maxSamples
		l.group.Weigh = func(b usage.Batch) int { return len(b.Samples) + len(b.Apart) }
		l.group.Commit = func(ctx context.Context, group []usage.Batch) []error { return i.commit(ctx, l, group) }
		i.lines[cloud] = l
		if i.Spool != nil {
			i.Spool.Join(cloud)
		}
	}
	return l
}

// The method `report` reports an outage, at most once a minute.
func (i *Intake) report(l *line, err error) {
	now, last := i.Now().UnixMicro(), l.reported.Load()
	if now-last >= reportEvery.Microseconds() && l.reported.CompareAndSwap(last, now) {
		i.Fault(err)
	}
}

// Take stores a post of a cloud's Ceilometer. When Take returns nil, the post is in the database or in the spool. Take may be repeated with the
// same post: its samples are stored once.
func (i *Intake) Take(ctx context.Context, cloud string, body []byte) (usage.Receipt, error) {
	received := i.Now()
	batch, receipt, err := i.decode(cloud, received, body)
	if err != nil || receipt.Samples+receipt.Apart == 0 {
		return receipt, err
	}
	l := i.line(cloud)
	failed := l.add(ctx, batch)
	report := func(effect string) {
		i.report(l, fmt.Errorf("posts of samples of the cloud %s %s: %w", cloud, effect, failed))
	}
	switch {
	case failed == nil:
		l.refused.Store(nil)
		if receipt.Samples > 0 {
			l.note(received)
		}
		return receipt, nil
	case ctx.Err() != nil: // Ceilometer has hung up
		return receipt, context.Cause(ctx)
	case i.Spool == nil:
		report("are refused, because there is no spool")
		return receipt, fmt.Errorf("%w: %w", usage.ErrFull, failed)
	}
	err = i.Spool.Append(cloud, record(cloud, received, body))
	if err != nil {
		l.refused.Store(&err)
	}
	if errors.Is(err, spool.ErrFull) {
		report(fmt.Sprintf("are refused, because the spool, or the cloud's part of the spool, is full: the spool contains %d bytes of this cloud", i.Spool.Len(cloud)))
		return receipt, fmt.Errorf("%w: %w", usage.ErrFull, failed)
	}
	if err == nil {
		l.refused.Store(nil)
		receipt.Spooled = true
		report(fmt.Sprintf("wait in the spool, which contains %d bytes of this cloud", i.Spool.Len(cloud)))
	}
	return receipt, err
}

// The method `decode` returns the samples of a post. Samples that were too old or in the future when the post was received are kept apart. Samples
// that have waited too long in the spool are kept apart, too.
func (i *Intake) decode(cloud string, received time.Time, body []byte) (b usage.Batch, receipt usage.Receipt, err error) {
	decoded, err := ceilometer.Decode(cloud, body)
	if err != nil {
		return b, receipt, fmt.Errorf("%w: %w", usage.ErrNotJSON, err)
	}
	for _, a := range decoded.Apart {
		b.Apart = append(b.Apart, usage.Apart{Cloud: cloud, Reason: a.Reason, Raw: a.Raw})
	}
	for _, s := range decoded.Samples {
		reason := ""
		switch {
		case s.At.Before(received.Add(-MaxAge)):
			reason = "the sample is older than 35 days"
		case s.At.Before(i.Now().Add(-maxStored)):
			reason = "the sample was older than 36 days when it left the spool"
		case s.At.After(received.Add(maxAhead)):
			reason = "the time of the sample is more than an hour in the future"
		}
		if reason != "" {
			b.Apart = append(b.Apart, usage.Apart{Cloud: cloud, Reason: reason, Raw: describe(s)})
			continue
		}
		s.Kind = i.Meters.Kind(s.Meter, s.Kind)
		b.Samples = append(b.Samples, s)
	}
	apart := len(b.Apart)
	if apart > maxApart {
		more := usage.Apart{Cloud: cloud, Reason: fmt.Sprintf("%d more samples of the post cannot be used", apart-maxApart), Raw: b.Apart[maxApart].Raw}
		b.Apart = append(b.Apart[:maxApart:maxApart], more)
	}
	return b, usage.Receipt{Samples: len(b.Samples), Apart: apart, Events: decoded.Events}, nil
}

// The method `add` stores a batch, together with the batches of other callers.
func (l *line) add(ctx context.Context, b usage.Batch) error {
	ctx, cancel := context.WithTimeoutCause(ctx, takeTime, errLate)
	defer cancel()
	failed, err := l.group.Do(ctx, b)
	if err != nil {
		return err
	}
	return failed
}

func (i *Intake) commit(ctx context.Context, l *line, group []usage.Batch) []error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	err := errAway
	if i.Spool == nil || i.Now().UnixMicro() >= l.away.Load() {
		var all usage.Batch
		for _, b := range group {
			all.Samples, all.Apart = append(all.Samples, b.Samples...), append(all.Apart, b.Apart...)
		}
		if err = i.store(ctx, all); err != nil {
			l.away.Store(i.Now().Add(retryIn).UnixMicro())
		}
	}
	return slices.Repeat([]error{err}, len(group))
}

// The method `store` stores a batch. Samples that the database refuses permanently are kept apart, and reported.
func (i *Intake) store(ctx context.Context, b usage.Batch) error {
	refused, err := i.divide(ctx, b)
	if refused != nil {
		i.Fault(fmt.Errorf("the database refuses samples, which are kept in the table apart_samples instead: %w", refused))
	}
	return err
}

// The method `divide` stores a batch. If the database refuses the batch, `divide` stores each half alone, until it has found the refused
// samples. It returns the last refusal. If it also returns an error, all of the batch must be stored again.
func (i *Intake) divide(ctx context.Context, b usage.Batch) (refused, err error) {
	_, err = i.Store.Add(ctx, i.Now(), b)
	if !errors.Is(err, saga.ErrBadRow) {
		return nil, err
	}
	refused = err
	samples, apart := len(b.Samples), len(b.Apart)
	var parts [2]usage.Batch
	switch {
	case samples > 0 && apart > 0:
		parts = [2]usage.Batch{{Samples: b.Samples}, {Apart: b.Apart}}
	case samples > 1:
		parts = [2]usage.Batch{{Samples: b.Samples[:samples/2]}, {Samples: b.Samples[samples/2:]}}
	case apart > 1:
		parts = [2]usage.Batch{{Apart: b.Apart[:apart/2]}, {Apart: b.Apart[apart/2:]}}
	case samples == 1:
		s := b.Samples[0]
		_, err = i.Store.Add(ctx, i.Now(), usage.Batch{Apart: []usage.Apart{{Cloud: s.Cloud, Reason: refusal, Raw: describe(s)}}})
		return refused, err
	default:
		return refused, err // the raw sample has only valid characters and is short, so the database does not refuse it
	}
	for _, part := range parts {
		again, err := i.divide(ctx, part)
		if again != nil {
			refused = again
		}
		if err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// Serve empties the spool whenever the database can be reached, and deletes old samples every hour, until ctx ends. The posts of each cloud leave
// the spool in their order, and do not wait for the posts of other clouds.
func (i *Intake) Serve(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { i.clean(ctx) })
	all.Go(func() { i.noteAll(ctx) })
	timer := time.NewTicker(drainEvery)
	defer timer.Stop()
	for {
		for _, cloud := range i.waiting() {
			if l := i.line(cloud); l.draining.CompareAndSwap(false, true) {
				all.Go(func() { i.drain(ctx, cloud, l) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// The method `waiting` returns the clouds whose posts wait in the spool.
func (i *Intake) waiting() []string {
	if i.Spool == nil {
		return nil
	}
	return i.Spool.Waiting()
}

// The method `drain` moves the posts of a cloud from the spool to the database.
func (i *Intake) drain(ctx context.Context, cloud string, l *line) {
	defer l.draining.Store(false)
	defer l.moves.Store(false)
	err := i.Spool.Drain(ctx, cloud, func(record []byte) error {
		err := i.restore(ctx, cloud, record)
		if err == nil {
			l.moves.Store(true)
			l.refused.Store(nil)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		i.report(l, fmt.Errorf("the spool of samples contains %d bytes of the cloud %s, and cannot be emptied: %w", i.Spool.Len(cloud), cloud, err))
	}
}

// Refused returns the reason for which the spool has refused the last post of a cloud. Refused returns nil if, for each cloud, the last post was
// stored, or posts have left the spool since the last refusal. If posts of several clouds were refused, it returns one of the reasons.
func (i *Intake) Refused() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, cloud := range slices.Sorted(maps.Keys(i.lines)) {
		if err := i.lines[cloud].refused.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// Draining reports whether posts are being moved from the spool to the database. It is false while the attempts to move posts fail.
func (i *Intake) Draining() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, l := range i.lines {
		if l.moves.Load() {
			return true
		}
	}
	return false
}

// The method `noteAll` records when samples of each cloud were last received: every ten seconds, and when ctx ends. This record is not part of
// the transaction that stores the samples: otherwise, the transactions of a cloud would wait for each other. An error is ignored, because the
// record is made again later.
func (i *Intake) noteAll(ctx context.Context) {
	noted := map[string]int64{}
	timer := time.NewTicker(noteEvery)
	defer timer.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-timer.C:
		}
		i.mu.Lock()
		lines := maps.Clone(i.lines)
		i.mu.Unlock()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		for cloud, l := range lines {
			at := l.received.Load()
			if at > noted[cloud] && i.Store.Received(limited, cloud, time.UnixMicro(at).UTC()) == nil {
				noted[cloud] = at
			}
		}
		cancel()
	}
}

// The method `clean` deletes old samples every hour, until ctx ends.
func (i *Intake) clean(ctx context.Context) {
	for {
		limited, cancel := context.WithTimeout(ctx, cleanTime)
		now := i.Now()
		err := i.Store.DeleteOld(limited, now.Add(-keepSamples), now.Add(-keepApart))
		cancel()
		wait := cleanEvery
		if err != nil && ctx.Err() == nil {
			i.Fault(fmt.Errorf("deleting old samples: %w", err))
			wait = cleanAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// The method `restore` stores a post from the spool of a cloud. A record that is not a post is kept apart, so that it does not block the posts
// behind it.
func (i *Intake) restore(ctx context.Context, owner string, record []byte) error {
	cloud, received, body, err := fromRecord(record)
	var b usage.Batch
	var receipt usage.Receipt
	if err == nil {
		b, receipt, err = i.decode(cloud, received, body)
	}
	if err != nil {
		i.Fault(fmt.Errorf("a post from the spool cannot be read, and at most its first 4 KiB are kept in the table apart_samples: %w", err))
		b = usage.Batch{Apart: []usage.Apart{{Cloud: cmp.Or(cloud, owner), Reason: "the post in the spool cannot be read", Raw: ceilometer.Excerpt(body)}}}
	}
	err = i.store(ctx, b)
	if err == nil && receipt.Samples > 0 {
		i.line(owner).note(received)
	}
	return err
}

// The function `record` returns the spool's record of a post.
func record(cloud string, received time.Time, body []byte) []byte {
	r := binary.AppendVarint(nil, received.UnixMicro())
	r = binary.AppendUvarint(r, uint64(len(cloud)))
	return append(append(r, cloud...), body...)
}

func fromRecord(record []byte) (cloud string, received time.Time, body []byte, err error) {
	micros, size := binary.Varint(record)
	rest := record[max(size, 0):]
	n, size2 := binary.Uvarint(rest)
	rest = rest[max(size2, 0):]
	if size <= 0 || size2 <= 0 || n > uint64(len(rest)) {
		return "", received, record, errors.New("the record has no name of a cloud")
	}
	return string(rest[:n]), time.UnixMicro(micros).UTC(), rest[n:], nil
}
