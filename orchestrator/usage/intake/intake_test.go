package intake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/orchestrator/usage/intake"
	"github.com/tenantry/tenantry/orchestrator/usage/spool"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// The type `database` is a store that can be down, can hang, and refuses samples of the meter "bad".
type database struct {
	mu     sync.Mutex
	only   string // if set, only the calls with samples of this cloud fail or hang
	fault  error
	hangs  bool
	stored []string
	kinds  map[string]usage.Kind // of the stored samples, by id
	apart  []usage.Apart
	calls  int
	failed int           // the number of calls that have failed or hang
	most   int           // the highest number of samples in a call
	gate   chan struct{} // if set, calls wait until it is closed

	received map[string][]time.Time // by cloud; not while the database is down
}

func (d *database) set(fault error, hangs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.hangs = fault, hangs
}

// The method `await` returns when a number is not zero.
func (d *database) await(number func() int) {
	for n := 0; n == 0; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		n = number()
		d.mu.Unlock()
	}
}

func (d *database) ids() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(slices.Values(d.stored))
}

// Add implements [usage.Store].
func (d *database) Add(ctx context.Context, _ time.Time, b usage.Batch) (usage.Added, error) {
	d.mu.Lock()
	d.calls++
	d.most = max(d.most, len(b.Samples))
	fails := d.only == "" || slices.ContainsFunc(b.Samples, func(s usage.Sample) bool { return s.Cloud == d.only })
	hangs, fault := fails && d.hangs, d.fault
	if fails && (hangs || fault != nil) {
		d.failed++
	}
	d.mu.Unlock()
	if d.gate != nil {
		<-d.gate
	}
	switch {
	case hangs:
		<-ctx.Done()
		return usage.Added{}, ctx.Err()
	case fails && fault != nil:
		return usage.Added{}, fault
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.ContainsFunc(b.Samples, func(s usage.Sample) bool { return s.Meter == "bad" }) {
		return usage.Added{}, fmt.Errorf("%w: bad", saga.ErrBadRow)
	}
	for _, s := range b.Samples {
		if !slices.Contains(d.stored, s.ID) {
			d.stored = append(d.stored, s.ID)
			d.kinds[s.ID] = s.Kind
		}
	}
	d.apart = append(d.apart, b.Apart...)
	return usage.Added{Stored: len(b.Samples)}, nil
}

// Received implements [usage.Store].
func (d *database) Received(_ context.Context, cloud string, at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault == nil {
		d.received[cloud] = append(d.received[cloud], at)
	}
	return d.fault
}

// DeleteOld implements [usage.Store]. It never ends, like the first deletion after a long pause.
func (d *database) DeleteOld(ctx context.Context, _, _ time.Time) error {
	<-ctx.Done()
	return ctx.Err()
}

func post(meter string, at time.Time, ids ...string) []byte {
	var all []string
	for _, id := range ids {
		all = append(all, fmt.Sprintf(`{"name": %q, "type": "delta", "unit": "", "volume": 1, "project_id": "p", "resource_id": "r", "timestamp": %q,
			"source": "openstack", "id": %q}`, meter, at.Format(time.RFC3339), id))
	}
	return []byte("[" + strings.Join(all, ",") + "]")
}

// The type `desk` is an intake with its database, its spool and its faults.
type desk struct {
	*intake.Intake

	db     *database
	spool  *spool.Shared
	mu     sync.Mutex
	faults []error
}

func newDesk(t *testing.T, limit int64) *desk {
	t.Helper()
	d := &desk{db: &database{kinds: map[string]usage.Kind{}, received: map[string][]time.Time{}}}
	s, err := spool.OpenShared(spool.Options{Folder: filepath.Join(t.TempDir(), "spool"), MaxBytes: limit, OnFault: d.note})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d.spool = s
	d.Intake = intake.New(d.db, s, func() time.Time { return now }, d.note)
	return d
}

func (d *desk) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, err)
}

// The method `drain` serves until the spool is empty.
func (d *desk) drain(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.Serve(ctx); close(done) }()
	for deadline := time.Now().Add(20 * time.Second); len(d.spool.Waiting()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the spool is not empty after 20 s")
		}
	}
	stop()
	<-done
}

func (d *desk) take(t *testing.T, body []byte) usage.Receipt {
	t.Helper()
	r, err := d.Take(t.Context(), "default", body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAPostGoesToTheDatabase(t *testing.T) {
	d := newDesk(t, 1<<20)
	if got := d.take(t, post("m", now, "1", "2")); got != (usage.Receipt{Samples: 2}) {
		t.Errorf("the receipt is %+v", got)
	}
	if got := d.db.ids(); !slices.Equal(got, []string{"1", "2"}) || d.spool.Len("default") != 0 {
		t.Errorf("the database has %q, and the spool %d bytes", got, d.spool.Len("default"))
	}
	if _, err := d.Take(t.Context(), "default", []byte("hello")); !errors.Is(err, usage.ErrNotJSON) {
		t.Errorf("a text: %v", err)
	}
}

func TestOldAndFutureSamplesAreKeptApart(t *testing.T) {
	d := newDesk(t, 1<<20)
	for age, apart := range map[time.Duration]bool{
		intake.MaxAge: false, intake.MaxAge + time.Second: true, -time.Hour: false, -time.Hour - time.Second: true,
	} {
		got := d.take(t, post("m", now.Add(-age), fmt.Sprint(age)))
		if want := map[bool]usage.Receipt{false: {Samples: 1}, true: {Apart: 1}}[apart]; got != want {
			t.Errorf("a sample that is %v old: %+v", age, got)
		}
	}
	if len(d.db.apart) != 2 || !strings.Contains(d.db.apart[0].Raw, `"project_id":"p"`) || d.db.apart[0].Cloud != "default" {
		t.Errorf("apart are %+v", d.db.apart)
	}
}

// While the database is down or hangs, posts are answered in time and wait in the spool. Later, each is in the database once.
func TestPostsWaitInTheSpoolWhileTheDatabaseIsAway(t *testing.T) {
	for what, hangs := range map[string]bool{"it refuses connections": false, "it hangs": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1<<20)
			d.db.set(saga.ErrUnavailable, hangs)
			var all sync.WaitGroup
			var want []string
			for i := range 200 {
				id := fmt.Sprintf("%03d", i)
				want = append(want, id)
				all.Go(func() {
					began := time.Now()
					got, err := d.Take(context.Background(), "default", post("m", now, id))
					if err != nil || !got.Spooled {
						t.Errorf("post %s: %+v, %v", id, got, err)
					}
					if took := time.Since(began); took > 4*time.Second {
						t.Errorf("post %s was answered after %v", id, took)
					}
				})
			}
			all.Wait()
			d.db.set(nil, false)
			d.take(t, post("m", now, want[0])) // Ceilometer repeats a post
			d.drain(t)
			if got := d.db.ids(); !slices.Equal(got, want) {
				t.Errorf("the database has %q", got)
			}
			if len(d.faults) != 1 || !strings.Contains(d.faults[0].Error(), "wait in the spool") {
				t.Errorf("the outage must be reported once: %v", d.faults)
			}
		})
	}
}

// The posts of a cloud fail or take long. The posts of another cloud are stored at once, and do not wait in the spool.
func TestACloudDoesNotDelayOtherClouds(t *testing.T) {
	for what, hangs := range map[string]bool{"its posts fail": false, "its posts take long": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1<<20)
			d.db.only = "west"
			d.db.set(saga.ErrUnavailable, hangs)
			var all sync.WaitGroup
			for n := range 50 {
				all.Go(func() {
					got, err := d.Take(context.Background(), "west", post("m", now, fmt.Sprint("west", n)))
					if err != nil || !got.Spooled {
						t.Errorf("post %d of the cloud west: %+v, %v", n, got, err)
					}
				})
			}
			d.db.await(func() int { return d.db.failed })
			began := time.Now()
			for n := range 10 {
				if got := d.take(t, post("m", now, fmt.Sprint(n))); got.Spooled {
					t.Errorf("post %d waits in the spool", n)
				}
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("ten posts took %v", took)
			}
			all.Wait()
			if got := d.take(t, post("m", now, "last")); got.Spooled {
				t.Error("the last post waits in the spool")
			}
			if len(d.faults) != 1 || !strings.Contains(d.faults[0].Error(), "cloud west wait") {
				t.Errorf("the outage must be reported once, with the cloud: %v", d.faults)
			}
		})
	}
}

// While the database is down, a cloud that sends too much does not use the space of the other clouds.
func TestACloudDoesNotFillTheSpoolOfOtherClouds(t *testing.T) {
	d := newDesk(t, 10_000)
	d.take(t, post("m", now, "early")) // the intake knows this cloud since then
	d.db.set(saga.ErrUnavailable, false)
	for n := 0; ; n++ {
		_, err := d.Take(t.Context(), "west", post("m", now, fmt.Sprint("west", n)))
		if errors.Is(err, usage.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 { // almost 4,000 bytes
		d.take(t, post("m", now, fmt.Sprint(n)))
	}
	if west, own := d.spool.Len("west"), d.spool.Len("default"); west > 5000 || west < 4500 || own < 3900 {
		t.Errorf("the spool has %d bytes of the cloud west, and %d of the other cloud", west, own)
	}
	if err := d.Refused(); !errors.Is(err, spool.ErrFull) || !strings.Contains(err.Error(), "the spool of west in "+d.spool.Folder) {
		t.Errorf("the reason of the refused post is %v", err)
	}
	d.db.set(nil, false)
	d.Now = func() time.Time { return now.Add(time.Minute) }
	if _, err := d.Take(t.Context(), "west", post("m", now, "last")); err != nil || d.Refused() != nil {
		t.Errorf("after a post was stored: %v, and %v is shown", err, d.Refused())
	}
}

// The posts of one cloud in the spool cannot be stored, or take long. The posts of the other cloud, which came later, leave the spool.
func TestACloudDoesNotBlockTheSpoolOfOtherClouds(t *testing.T) {
	for what, hangs := range map[string]bool{"its posts fail": false, "its posts take long": true} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t, 1<<20)
			d.db.set(saga.ErrUnavailable, false)
			for _, cloud := range []string{"central", "default"} {
				if got, err := d.Take(t.Context(), cloud, post("m", now, cloud)); err != nil || !got.Spooled {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			d.db.only = "central"
			d.db.set(saga.ErrUnavailable, hangs)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { d.Serve(ctx); close(done) }()
			for deadline := time.Now().Add(10 * time.Second); !slices.Equal(d.spool.Waiting(), []string{"central"}); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("after 10 s, the spool has posts of %q", d.spool.Waiting())
				}
			}
			stop()
			d.db.set(nil, false)
			<-done
			d.drain(t)
			if got := d.db.ids(); !slices.Equal(got, []string{"central", "default"}) {
				t.Errorf("the database has %q", got)
			}
		})
	}
}

func TestDrainingIsShown(t *testing.T) {
	d := newDesk(t, 1<<20)
	d.db.set(saga.ErrUnavailable, false)
	for _, id := range []string{"1", "2"} {
		if got := d.take(t, post("m", now, id)); !got.Spooled {
			t.Fatalf("%+v", got)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	d.db.gate = make(chan struct{})
	go func() { d.Serve(ctx); close(done) }()
	wait := func(what string, fits func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !fits(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	d.db.gate <- struct{}{} // the first attempt fails
	d.db.set(nil, false)
	wait("no second attempt", func() bool { d.db.mu.Lock(); defer d.db.mu.Unlock(); return d.db.calls == 3 })
	if d.Draining() {
		t.Error("the spool is being emptied, before an attempt has succeeded")
	}
	d.db.gate <- struct{}{}
	wait("the spool is not being emptied, although one post has left it", d.Draining)
	close(d.db.gate)
	wait("the spool is still being emptied", func() bool { return len(d.spool.Waiting()) == 0 && !d.Draining() })
	stop()
	<-done
}

// Posts that wait share a transaction, but a transaction does not have more than 5,000 samples.
func TestAGroupHasALimitedNumberOfSamples(t *testing.T) {
	d := newDesk(t, 64<<20)
	d.db.gate = make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { _, _ = d.Take(context.Background(), "default", post("m", now, "first")) })
	d.db.await(func() int { return d.db.calls })
	ids := make([]string, 1000)
	for n := range 12 {
		for i := range ids {
			ids[i] = fmt.Sprint(n, "-", i)
		}
		body := post("m", now, ids...)
		all.Go(func() {
			if _, err := d.Take(context.Background(), "default", body); err != nil {
				t.Errorf("post %d: %v", n, err)
			}
		})
	}
	time.Sleep(500 * time.Millisecond) // so that all posts wait
	close(d.db.gate)
	all.Wait()
	if d.db.most > 5000 {
		t.Errorf("a transaction had %d samples", d.db.most)
	}
}

func TestAFullSpoolRefusesPosts(t *testing.T) {
	d := newDesk(t, 1000)
	d.db.set(saga.ErrUnavailable, false)
	d.take(t, post("m", now, "1"))
	if _, err := d.Take(t.Context(), "default", post("m", now, "2", "3", "4", "5", "6", "7", "8", "9")); !errors.Is(err, usage.ErrFull) || !errors.Is(err, saga.ErrUnavailable) {
		t.Errorf("the spool is full: %v", err)
	}
	without := intake.New(d.db, nil, func() time.Time { return now }, d.note)
	if _, err := without.Take(t.Context(), "default", post("m", now, "1")); !errors.Is(err, usage.ErrFull) {
		t.Errorf("there is no spool: %v", err)
	}
}

// A sample that the database refuses for good is kept apart. The other samples of its post and of its group are stored, with a spool or without,
// and also when they come from the spool.
func TestASampleThatCannotBeStoredIsKeptApart(t *testing.T) {
	for what, prepare := range map[string]func(*desk){
		"with a spool": func(*desk) {}, "without a spool": func(d *desk) { d.Spool = nil },
		"from the spool": func(d *desk) { d.db.set(saga.ErrUnavailable, false) },
	} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t, 1<<20)
			prepare(d)
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					meter := "m"
					if i == 5 {
						meter = "bad"
					}
					body := slices.Concat(post("m", now, fmt.Sprint(i, "a")), post(meter, now, fmt.Sprint(i, "b")), post("m", now, fmt.Sprint(i, "c")))
					body = []byte(strings.ReplaceAll(string(body), "][", ","))
					got, err := d.Take(context.Background(), "default", body)
					if err != nil || got.Spooled != (what == "from the spool") {
						t.Errorf("post %d: %+v, %v", i, got, err)
					}
				})
			}
			all.Wait()
			d.db.set(nil, false)
			d.drain(t)
			if got := d.db.ids(); len(got) != 29 || slices.Contains(got, "5b") {
				t.Errorf("the database has %q", got)
			}
			if len(d.db.apart) != 1 || !strings.Contains(d.db.apart[0].Raw, `"bad"`) || len(d.faults) == 0 {
				t.Errorf("apart are %+v, and the faults %v", d.db.apart, d.faults)
			}
		})
	}
}

// A post counts as received when it came, not when it left the spool.
func TestTheAgeOfAPostInTheSpool(t *testing.T) {
	d := newDesk(t, 1<<20)
	d.db.set(saga.ErrUnavailable, false)
	d.take(t, post("m", now.Add(-intake.MaxAge), "old"))
	d.db.set(nil, false)
	d.Now = func() time.Time { return now.Add(24 * time.Hour) }
	d.drain(t)
	if got := d.db.ids(); !slices.Equal(got, []string{"old"}) {
		t.Errorf("the database has %q, and apart are %+v", got, d.db.apart)
	}
}

// The database has the time at which samples of a cloud were last received. Posts without samples that can be used do not count, and posts in the
// spool only when they have left it.
func TestTheTimeOfTheLastSamplesIsRecorded(t *testing.T) {
	d := newDesk(t, 1<<20)
	at := func(after time.Duration) { d.Now = func() time.Time { return now.Add(after) } }
	d.take(t, post("m", now, "1"))
	at(time.Minute)
	d.take(t, post("m", now, "2"))
	at(2 * time.Minute)
	d.take(t, post("m", now.Add(-intake.MaxAge), "apart"))
	if _, err := d.Take(t.Context(), "west", post("m", now.Add(-intake.MaxAge), "apart")); err != nil {
		t.Error(err)
	}
	check := func(what string, want ...time.Time) {
		t.Helper()
		d.drain(t)
		if !slices.Equal(d.db.received["default"], want) || len(d.db.received) > 1 {
			t.Errorf("%s: recorded are %v, want %v", what, d.db.received, want)
		}
	}
	check("two posts", now.Add(time.Minute))
	d.db.set(saga.ErrUnavailable, false)
	at(3 * time.Minute)
	d.take(t, post("m", now, "3"))
	at(time.Hour)
	d.db.set(nil, false)
	check("a post from the spool", now.Add(time.Minute), now.Add(3*time.Minute))
}

// The spool of a replica that was off for weeks has samples of hours whose other samples are deleted. The hours must not be computed again.
func TestASampleThatWaitedTooLongInTheSpoolIsKeptApart(t *testing.T) {
	d := newDesk(t, 1<<20)
	d.db.set(saga.ErrUnavailable, false)
	d.take(t, post("m", now.Add(-time.Second), "old"))
	d.take(t, post("m", now, "young"))
	d.db.set(nil, false)
	d.Now = func() time.Time { return now.Add(36 * 24 * time.Hour) }
	d.drain(t)
	if got := d.db.ids(); !slices.Equal(got, []string{"young"}) {
		t.Errorf("the database has %q", got)
	}
	if got := d.db.apart; len(got) != 1 || got[0].Reason != "the sample was older than 36 days when it left the spool" {
		t.Errorf("apart are %+v", got)
	}
}

// The samples in this test are deltas.
func TestTheFileOfMetersReplacesTheKindOfASample(t *testing.T) {
	for what, spooled := range map[string]bool{"into the database": false, "out of the spool": true} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t, 1<<20)
			d.Meters = usage.Meters{"level": {Product: "P", Kind: usage.Gauge}, "counter": {Product: "P", Kind: usage.Cumulative}, "plain": {Product: "P"}}
			if spooled {
				d.db.set(saga.ErrUnavailable, false)
			}
			for _, meter := range []string{"level", "counter", "plain", "other"} {
				if got := d.take(t, post(meter, now, meter)); got != (usage.Receipt{Samples: 1, Spooled: spooled}) {
					t.Errorf("the receipt of %s is %+v", meter, got)
				}
			}
			d.db.set(nil, false)
			d.drain(t)
			want := map[string]usage.Kind{"level": usage.Gauge, "counter": usage.Cumulative, "plain": usage.Delta, "other": usage.Delta}
			if !maps.Equal(d.db.kinds, want) {
				t.Errorf("got %v, want %v", d.db.kinds, want)
			}
		})
	}
}

// A sample that is kept apart is described as it was received.
func TestASampleApartKeepsItsKind(t *testing.T) {
	d := newDesk(t, 1<<20)
	d.Meters = usage.Meters{"m": {Product: "P", Kind: usage.Gauge}}
	d.take(t, post("m", now.Add(-intake.MaxAge-time.Second), "1"))
	if len(d.db.apart) != 1 || !strings.Contains(d.db.apart[0].Raw, `"type":"delta"`) {
		t.Errorf("apart are %+v", d.db.apart)
	}
}

// The type `keys` is a store of one key.
type keys struct {
	usage.Keys

	key   usage.MeterKey
	fault error
	reads int
}

// MeterKey implements [usage.Keys].
func (k *keys) MeterKey(_ context.Context, name string) (usage.MeterKey, error) {
	k.reads++
	switch {
	case k.fault != nil:
		return usage.MeterKey{}, k.fault
	case name != k.key.Key:
		return usage.MeterKey{}, usage.ErrNoKey
	}
	return k.key, nil
}

func TestMeterKeysAreKnownWhileTheDatabaseIsAway(t *testing.T) {
	made, secret, err := usage.NewKey(strings.NewReader(strings.Repeat("x", 44)), "west", now)
	if err != nil {
		t.Fatal(err)
	}
	at, store := now, &keys{key: made}
	all := intake.NewKeys(store, func() time.Time { return at })
	try := func(what string, want error) {
		t.Helper()
		cloud, err := all.Cloud(t.Context(), made.Key, secret)
		if !errors.Is(err, want) || want == nil && (err != nil || cloud != "west") {
			t.Errorf("%s: %q, %v", what, cloud, err)
		}
	}
	try("the first time", nil)
	try("again", nil)
	if store.reads != 1 {
		t.Errorf("the key was read %d times", store.reads)
	}
	if _, err := all.Cloud(t.Context(), made.Key, secret+"x"); !errors.Is(err, usage.ErrNoKey) {
		t.Errorf("a wrong secret: %v", err)
	}
	store.fault = saga.ErrUnavailable
	at = at.Add(23 * time.Hour)
	try("the database is down", nil)
	try("it is still away", nil)
	if store.reads != 2 {
		t.Errorf("the key was read %d times, but while the database is down, it must be read every 5 s", store.reads)
	}
	at = at.Add(2 * time.Hour)
	try("the database is down for too long", saga.ErrUnavailable)
	store.fault, store.key.RevokedAt = nil, &now
	try("the key is revoked", usage.ErrNoKey)
}
