package stories_test

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// The kinds of faults.
const (
	frozen   = "PostgreSQL frozen"
	shutDown = "PostgreSQL shut down"
	crashed  = "PostgreSQL crashed"
	fullDisk = "PostgreSQL's disk full"
	down     = "Keystone killed"
	killed   = "replica killed"
)

// breakThings injects faults in the background, and returns the function `cease`. The function `cease` stops the injection, and
// waits until the last fault has ended.
func (w *world) breakThings() (cease func()) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	every := func(n uint64, f faults, fault func(*rand.Rand) (hit bool)) {
		rng := rand.New(rand.NewPCG(w.seed, n))
		all.Go(func() {
			for done, over := 0, false; !over && (f.most == 0 || done < f.most); {
				select {
				case <-stop: // the last order has started: inject this fault now if it has not occurred yet
					if over = true; done > 0 {
						return
					}
				case <-time.After(f.from + upTo(rng, f.to-f.from)):
				}
				if fault(rng) {
					done++
				}
			}
		})
	}
	if w.postgres.disk != nil {
		all.Go(func() { w.suffocate(stop) })
	}
	every(1, w.chaos.postgres, w.breakPostgres)
	every(2, w.chaos.keystone, func(rng *rand.Rand) bool {
		return w.count(down, w.keystone.down(syscall.SIGKILL, upTo(rng, 2*time.Second)))
	})
	every(3, w.chaos.replicas, func(rng *rand.Rand) bool {
		return w.count(killed, w.replicas[rng.IntN(len(w.replicas))].kill(upTo(rng, 2*time.Second)))
	})
	return func() {
		close(stop)
		all.Wait()
	}
}

// The method `suffocate` fills PostgreSQL's disk once, when a third of the orders have ended.
func (w *world) suffocate(stop <-chan struct{}) {
	for late := false; !late && int(w.ended.Load()) < w.subscribes/3; {
		select {
		case <-stop: // the last order has started
			late = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	w.onePostgres.Lock()
	defer w.onePostgres.Unlock()
	before := w.postgres.ended()
	if err := w.postgres.suffocate(w.full); err != nil {
		w.t.Error(err)
	}
	w.endedFull = w.postgres.ended() - before
	w.count(fullDisk, true)
}

// breakPostgres freezes, shuts down or crashes PostgreSQL for up to 2 s. The result is false if PostgreSQL was not running.
func (w *world) breakPostgres(rng *rand.Rand) bool {
	w.onePostgres.Lock()
	defer w.onePostgres.Unlock()
	away := upTo(rng, 2*time.Second)
	switch rng.IntN(3) {
	case 0:
		hit, err := w.postgres.freeze(away)
		if err != nil {
			w.t.Error(err)
		}
		return w.count(frozen, hit)
	case 1:
		return w.count(shutDown, w.postgres.down(syscall.SIGINT, away))
	default:
		return w.count(crashed, w.postgres.down(syscall.SIGQUIT, away))
	}
}

func upTo(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}

// The method `count` counts a fault if hit is true, and returns hit.
func (w *world) count(what string, hit bool) bool {
	if hit {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.counts[what]++
		w.last = time.Now()
	}
	return hit
}

func (w *world) counted(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[what]
}
