package main_test

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// What is done.
const (
	frozen   = "PostgreSQL frozen"
	shutDown = "PostgreSQL shut down"
	crashed  = "PostgreSQL crashed"
	fullDisk = "PostgreSQL's disk full"
	down     = "Keystone killed"
	killed   = "replica killed"
)

// breakThings begins, and goes on until cease, which returns when all are up again.
func (w *world) breakThings() (cease func()) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	every := func(n uint64, f faults, fault func(*rand.Rand)) {
		rng := rand.New(rand.NewPCG(w.seed, n))
		all.Go(func() {
			for done := 0; f.most == 0 || done < f.most; done++ {
				select {
				case <-stop:
					return
				case <-time.After(f.from + upTo(rng, f.to-f.from)):
				}
				fault(rng)
			}
		})
	}
	if w.postgres.disk != nil {
		all.Go(func() { w.suffocate(stop) })
	}
	every(1, w.chaos.postgres, w.breakPostgres)
	every(2, w.chaos.keystone, func(rng *rand.Rand) {
		w.keystone.down(syscall.SIGKILL, upTo(rng, 2*time.Second))
		w.count(down)
	})
	every(3, w.chaos.replicas, func(rng *rand.Rand) {
		if w.replicas[rng.IntN(len(w.replicas))].kill(upTo(rng, 2*time.Second)) {
			w.count(killed)
		}
	})
	return func() {
		close(stop)
		all.Wait()
	}
}

// suffocate has PostgreSQL's disk full once, when a third of the orders have ended.
func (w *world) suffocate(stop <-chan struct{}) {
	for late := false; !late && int(w.ended.Load()) < w.subscribes/3; {
		select {
		case <-stop: // few are left, so now
			late = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	w.onePostgres.Lock()
	defer w.onePostgres.Unlock()
	if err := w.postgres.suffocate(w.full); err != nil {
		w.t.Error(err)
	}
	w.count(fullDisk)
}

// breakPostgres stops it for 0 to 2 s.
func (w *world) breakPostgres(rng *rand.Rand) {
	w.onePostgres.Lock()
	defer w.onePostgres.Unlock()
	away := upTo(rng, 2*time.Second)
	switch rng.IntN(3) {
	case 0:
		if err := w.postgres.freeze(away); err != nil {
			w.t.Error(err)
		}
		w.count(frozen)
	case 1:
		w.postgres.down(syscall.SIGINT, away)
		w.count(shutDown)
	case 2:
		w.postgres.down(syscall.SIGQUIT, away)
		w.count(crashed)
	}
}

func upTo(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}

// count notes a fault.
func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
	w.last = time.Now()
}

func (w *world) counted(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[what]
}
