package simulation

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// The type `driver` runs a simulated world one event at a time. An event is called a thing. A thing is the arrival of a call at the
// database or an upstream, the answer to a call, a timer, or a message between replicas. When all goroutines are blocked, the driver
// runs the thing with the earliest time. The driver then waits until all goroutines are blocked again. The time of a thing depends on
// the seed and the thing's name, but not on the sequence in which Go runs the goroutines. Therefore a seed can be replayed.
type driver struct {
	seed  uint64
	fates func(call) fate
	began time.Time

	mu       sync.Mutex
	things   []*thing
	arrivals chan struct{}
	seen     map[string]int // number of calls so far, by name
	nth      map[target]int // number of calls that arrived so far, by target
	writes   map[call]int   // number of writes that arrived so far, by step
	log      hash.Hash
	steps    int
	restless string // reason why the world does not come to rest; empty if the world comes to rest
	lines    []string
	keep     bool // whether the history is stored in the field `lines`
}

// The type `thing` is an event: a function that the driver calls at a certain time.
type thing struct {
	at   time.Time
	key  string
	host *host // the thing's process; while the process is paused, the thing waits
	run  func()
	off  bool
}

// The type `target` is the database or the upstream to which a call goes.
type target int

const (
	database target = iota
	keystoneAPI
	billingStack
	targets
)

func (t target) String() string { return [...]string{"database", "keystone", "billingstack"}[t] }

// The type `host` is one process, which can be paused and can crash.
type host struct {
	name   string
	asleep time.Time // time until which the host is paused
	dead   bool
	calls  []*flight
	befall func(incidentKind, time.Duration)
}

// The type `flight` is a call in progress.
type flight struct {
	done chan error
}

// Errors that a caller gets instead of an answer.
var (
	errCrashed     = errors.New("this process has crashed")
	errUnreachable = errors.New("the connection was refused")
	errReset       = errors.New("the connection was reset")
)

func newDriver(seed uint64, fates func(call) fate) *driver {
	return &driver{
		seed: seed, fates: fates, began: time.Now(), arrivals: make(chan struct{}, 1), seen: map[string]int{},
		nth: map[target]int{}, writes: map[call]int{}, log: fnv.New128a(),
	}
}

// The method `chance` returns a pseudo-random number that depends only on the seed and on the values in the parameter `what`.
func (d *driver) chance(what ...any) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, d.seed)
	_, _ = fmt.Fprintln(h, what...)
	x := h.Sum64() // FNV's high bits are not random enough; mix the bits as SplitMix64 does
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// The method `latency` returns the time until a call, an answer or a message arrives. Most latencies are a few milliseconds. Some
// latencies are several seconds.
func (d *driver) latency(what ...any) time.Duration {
	x := d.chance(what...)
	usual := time.Millisecond/2 + time.Duration(x%uint64(20*time.Millisecond))
	switch (x >> 40) % 200 {
	case 0:
		return usual * 500 // up to ten seconds
	case 1, 2, 3:
		return usual * 50
	}
	return usual
}

// The method `note` adds a line to the history and to the history's hash. Equal hashes show that two worlds are equal. Only the
// goroutine that runs the driver may call `note`.
func (d *driver) note(format string, args ...any) {
	_, _ = fmt.Fprintf(d.log, "%d ", time.Since(d.began))
	_, _ = fmt.Fprintf(d.log, format, args...)
	d.remark("* "+format, args...)
}

// The method `remark` adds a line to the history, but not to the history's hash.
func (d *driver) remark(format string, args ...any) {
	if !d.keep {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%11.6f ", time.Since(d.began).Seconds())+fmt.Sprintf(format, args...))
}

func (d *driver) hash() string { return hex.EncodeToString(d.log.Sum(nil)) }

func (d *driver) history() string { return strings.Join(d.lines, "\n") }

// The method `after` schedules a call of the function run() after the given time. The function off() cancels the scheduled call.
func (d *driver) after(h *host, in time.Duration, key string, run func()) (off func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.push(h, in, key, run)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		t.off = true
	}
}

// The method `push` adds a thing: the driver calls the function run() when the given time has passed. The caller must hold the lock
// d.mu.
func (d *driver) push(h *host, in time.Duration, key string, run func()) *thing {
	t := &thing{at: time.Now().Add(max(in, 0)), key: key, host: h, run: run}
	d.things = append(d.things, t)
	select {
	case d.arrivals <- struct{}{}:
	default:
	}
	return t
}

// The method `call` sends a request to its target and waits for the answer. The function `effect` executes the request at the
// target. The fate of the call decides whether and when the driver calls `effect`.
func (d *driver) call(ctx context.Context, h *host, c call, key string, effect func()) error {
	f := &flight{done: make(chan error, 1)}
	d.mu.Lock()
	if h.dead {
		d.mu.Unlock()
		return errCrashed
	}
	what := h.name + " " + key
	key = fmt.Sprint(what, " #", d.seen[what])
	d.seen[what]++
	h.calls = append(h.calls, f)
	d.push(nil, d.latency(key, "there"), key, func() { d.arrive(h, f, c, key, effect) })
	d.mu.Unlock()
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The method `arrive` decides the fate of a call when the call arrives at its target.
func (d *driver) arrive(h *host, f *flight, c call, key string, effect func()) {
	if h.dead && d.chance(key, "dropped")%2 == 0 {
		d.note("%s: never left the crashed process", key)
		return
	}
	c.nth, c.at = d.nth[c.to], time.Now()
	d.nth[c.to]++
	if c.step != "" {
		of := call{to: c.to, order: c.order, step: c.step, undo: c.undo, recheck: c.recheck}
		c.nthOfStep = d.writes[of]
		d.writes[of]++
	}
	fate := d.fates(c)
	d.note("%s: %s %d %s", key, c.to, c.nth, fate)
	if fate.late > 0 {
		d.after(nil, fate.late, key+" late", func() {
			d.note("%s: carried out late", key)
			effect()
		})
	} else if fate.done {
		effect()
	}
	if fate.away > 0 {
		h.befall(fate.host, fate.away)
	}
	if !fate.silent {
		d.after(h, d.latency(key, "back"), key+" answer", func() {
			d.note("%s: answered", key)
			f.end(fate.err)
		})
	}
}

func (f *flight) end(err error) {
	select {
	case f.done <- err:
	default: // the call has already ended, because the host has crashed
	}
}

// The method `crash` ends a host. All current and later calls of the host return errCrashed.
func (d *driver) crash(h *host) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.dead = true
	for _, f := range h.calls {
		f.end(errCrashed)
	}
	h.calls = nil
}

// The method `sleep` blocks the caller for the given time. The driver controls the end of the sleep.
func (d *driver) sleep(in time.Duration, key string) {
	done := make(chan struct{})
	d.after(nil, in, key, func() { close(done) })
	<-done
}

// The method `drive` runs scheduled things until the function `over` returns true, or until no scheduled thing is left. The driver
// calls over() whenever all goroutines are blocked. If `drive` has run too many things, it sets the field `restless` and returns.
func (d *driver) drive(over func() bool) {
	for {
		synctest.Wait()
		select {
		case <-d.arrivals:
		default:
		}
		if over() {
			return
		}
		next := d.next()
		if next == nil {
			return
		}
		if wait := time.Until(next.at); wait > 0 {
			// Time-outs of clients and of requests do not pass through the driver. When a time-out expires during this wait, a
			// goroutine may schedule a new thing.
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-d.arrivals:
				timer.Stop()
			}
			continue
		}
		d.mu.Lock()
		d.things = slices.DeleteFunc(d.things, func(t *thing) bool { return t == next })
		d.mu.Unlock()
		if d.steps++; d.steps > tooMany {
			d.steps, d.restless = 0, fmt.Sprintf("the world is %v old, and the next thing is %s\n%s",
				time.Since(d.began), next.key, strings.Join(d.lines[max(0, len(d.lines)-100):], "\n"))
			return
		}
		next.run()
	}
}

// tooMany is the number of things after which the method `drive` assumes an endless loop.
const tooMany = 200_000

// The method `next` returns the thing with the earliest time, or nil if nothing is scheduled.
func (d *driver) next() *thing {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.things = slices.DeleteFunc(d.things, func(t *thing) bool { return t.off })
	var first *thing
	for _, t := range d.things {
		if t.host != nil && t.host.asleep.After(t.at) {
			t.at = t.host.asleep
		}
		if first == nil || cmp.Or(t.at.Compare(first.at), cmp.Compare(t.key, first.key)) < 0 {
			first = t
		}
	}
	return first
}
