package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/store/storetest"
)

// writesOfARun are the writes that one subscribe makes, by method and a part of the path.
var writesOfARun = []struct{ method, path string }{
	{http.MethodPost, "/customers"},
	{http.MethodPost, "/projects"},
	{http.MethodPut, "/roles/"},
	{http.MethodPost, "/auth/tokens"},
	{http.MethodPost, "/subscriptions"},
	{http.MethodPatch, "/subscriptions/"},
}

// Each case kills the process at one write of the run, before the upstream has seen it or after it has carried it out.
func TestKilledAtAnyWriteAndStartedAgainTheRunSucceeds(t *testing.T) {
	room := make(chan struct{}, 4)
	var all sync.WaitGroup
	for _, write := range writesOfARun {
		for nth := 1; nth <= 3; nth++ {
			if nth > 1 && write.path != "/roles/" && (write.path != "/projects" || nth > 2) {
				continue
			}
			for _, after := range []bool{false, true} {
				room <- struct{}{}
				all.Go(func() {
					defer func() { <-room }()
					name := fmt.Sprintf("%s %s %d, carried out %t", write.method, strings.Trim(write.path, "/"), nth, after)
					t.Run(name, func(t *testing.T) { killAt(t, write.method, write.path, nth, after) })
				})
			}
		}
	}
	all.Wait()
}

func killAt(t *testing.T, method, path string, nth int, after bool) {
	var mu sync.Mutex
	var victim *replica
	seen := 0
	strike := func(r *http.Request) {
		login := strings.HasSuffix(r.URL.Path, "/auth/tokens") && r.Header.Get("X-Subject-Token") == "" && !exchange(r)
		mu.Lock()
		defer mu.Unlock()
		if victim == nil || r.Method != method || !strings.Contains(r.URL.Path, path) || login {
			return
		}
		if seen++; seen == nth {
			victim.kill()
			victim = nil
		}
	}
	in := func() *upstream {
		if after {
			return &upstream{after: strike}
		}
		return &upstream{before: strike}
	}
	s := newSite(t, storetest.SQLite(t), memoryCloud(t, in()), in())
	user, token := s.cloud.newUser(t)
	first := s.serve()
	mu.Lock()
	victim = first
	mu.Unlock()
	if a, err := s.subscribe(first.url, "key", token); err == nil {
		t.Fatalf("it was not killed: %d %s", a.status, a.body)
	}
	second := s.serve()
	a, err := s.subscribe(second.url, "key", token) // as a portal does that got no answer
	s.ok(err)
	var r run
	s.unmarshal(a.body, &r)
	s.whole(s.until(second.url, r.ID, "succeeded"), user)
}

// exchange tells a token exchange from a login, by what it authenticates with.
func exchange(r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	return err == nil && bytes.Contains(body, []byte(`"methods":["token"]`))
}
