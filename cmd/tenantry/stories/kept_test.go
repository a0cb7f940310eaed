package stories_test

import (
	"sync"
	"time"
)

// exitUnavailable is the exit code of `tenantry serve` if the database is down.
const exitUnavailable = 5

// keptReplica is a replica that the test starts again each time it has ended.
type keptReplica struct {
	site *site

	mu      sync.Mutex
	process *replica // nil if none is running
	url     string   // empty while the replica does not serve
	resume  time.Time
	killed  bool // true if the test killed the replica
	over    bool
	refused int
	gone    chan struct{}
}

func (s *site) keepReplica() *keptReplica {
	k := &keptReplica{site: s, gone: make(chan struct{})}
	go k.keep()
	s.t.Cleanup(k.stop)
	return k
}

func (k *keptReplica) keep() {
	defer close(k.gone)
	for {
		k.mu.Lock()
		if k.over {
			k.mu.Unlock()
			return
		}
		if pause := time.Until(k.resume); pause > 0 {
			k.mu.Unlock()
			time.Sleep(min(pause, 50*time.Millisecond))
			continue
		}
		r, serving, err := k.site.launch()
		k.process, k.killed = r, false
		k.mu.Unlock()
		if err != nil {
			k.site.t.Error(err)
			return
		}

		served := false
		select {
		case url := <-serving:
			served = true
			k.mu.Lock()
			k.url = url
			k.mu.Unlock()
			<-r.dead
		case <-r.dead:
		}
		k.mu.Lock()
		k.process, k.url = nil, ""
		switch {
		case k.killed:
		case served:
			k.site.t.Errorf("a replica ended by itself: %v", r.cmd.ProcessState)
		case r.cmd.ProcessState.ExitCode() != exitUnavailable:
			k.site.t.Errorf("a replica did not start: %v", r.cmd.ProcessState)
			k.over = true
		default:
			k.refused++
			k.resume = time.Now().Add(200 * time.Millisecond)
		}
		k.mu.Unlock()
	}
}

// The method `kill` kills the replica, and keeps it down for the duration `away`. The result is false if the replica was not
// running.
func (k *keptReplica) kill(away time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process == nil {
		return false
	}
	k.killed, k.resume = true, time.Now().Add(away)
	_ = k.process.cmd.Process.Kill()
	return true
}

// The method `address` returns the replica's address, or "" while the replica does not serve.
func (k *keptReplica) address() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.url
}

// The method `refusals` returns the number of times that the replica did not start because its database was down.
func (k *keptReplica) refusals() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refused
}

// The method `await` waits until the replica serves, and returns the replica's address.
func (k *keptReplica) await() string {
	for ; ; time.Sleep(5 * time.Millisecond) {
		if url := k.address(); url != "" {
			return url
		}
		select {
		case <-k.gone:
			return ""
		default:
		}
	}
}

// The method `stop` ends the replica, and does not start it again.
func (k *keptReplica) stop() {
	k.mu.Lock()
	k.over = true
	k.mu.Unlock()
	k.kill(0)
	<-k.gone
}
