package stories_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/store/storetest"
)

// The method `logsIn` logs a user in at the API.
func (s *site) logsIn(url, name, password string) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, url+"/v1/merchants/"+s.merchant.ID+"/tokens",
		strings.NewReader(fmt.Sprintf(`{"name": %q, "password": %q}`, name, password)))
	if err != nil {
		return answer{}, err
	}
	req.SetBasicAuth(s.apiKey, s.secret)
	req.Header.Set("Content-Type", "application/json")
	return s.do(req)
}

// A visitor registers, logs in and subscribes, with a real Keystone and a real PostgreSQL. Meanwhile, a replica is killed during a
// registration. No password is in the log, in the database, in an answer or in the dump of a replica's goroutines.
func TestAVisitorSignsUpAndSubscribesOnRealParts(t *testing.T) {
	var first *replica
	var kills atomic.Bool
	in := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		if r.Method == http.MethodPost && r.URL.Path == "/v3/users" && kills.CompareAndSwap(true, false) {
			first.kill() // Keystone has created the user, but the replica gets no answer
		}
	}}
	s := newSite(t, storetest.PostgreSQL(t), realCloud(t, in), &upstream{})
	first = s.serve("TENANTRY_LOGIN_RATE=1000")
	second := s.serve("TENANTRY_LOGIN_RATE=1000")
	name := "visitor-" + uuid.NewString()
	var mu sync.Mutex
	var passwords []string
	password := func(text string) string {
		mu.Lock()
		defer mu.Unlock()
		text += " " + uuid.NewString()
		passwords = append(passwords, text)
		return text
	}

	chosen := password("chosen")
	s.insist(first.url, s.registers("registers", name, chosen))
	if a, err := s.registers("again", strings.ToUpper(name), password("taken")).call(second.url); err != nil || a.status != http.StatusConflict ||
		!strings.Contains(string(a.body), "user-exists") {
		t.Errorf("the name is taken: %v, %d %s", err, a.status, a.body)
	}
	in1, err := s.logsIn(second.url, name, chosen)
	s.ok(err)
	if in1.status != http.StatusCreated {
		t.Fatalf("logging in: %d %s", in1.status, in1.body)
	}
	token := in1.header.Get("X-Subject-Token")
	subscribed, err := s.subscribe(second.url, "subscribes", token)
	s.ok(err)
	if subscribed.status != http.StatusCreated {
		t.Fatalf("subscribing: %d %s", subscribed.status, subscribed.body)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			who, secret := fmt.Sprint("many-", i, "-", name), password("many")
			s.insist(second.url, s.registers(who, who, secret))
			if a, err := s.logsIn(second.url, who, secret); err != nil || a.status != http.StatusCreated {
				t.Errorf("%s: %v, %d %s", who, err, a.status, a.body)
			}
			if a, err := s.logsIn(second.url, who, password("wrong")); err != nil || a.status != http.StatusUnauthorized {
				t.Errorf("%s, with a wrong password: %v, %d %s", who, err, a.status, a.body)
			}
		})
	}
	all.Wait()

	kills.Store(true)
	lost, next := password("lost"), password("next")
	if a, err := s.registers("killed", "killed-"+name, lost).call(first.url); err == nil {
		t.Fatalf("the replica was not killed: %d %s", a.status, a.body)
	}
	s.insist(second.url, s.registers("killed", "killed-"+name, next))
	for secret, status := range map[string]int{lost: http.StatusUnauthorized, next: http.StatusCreated} {
		if a, err := s.logsIn(second.url, "killed-"+name, secret); err != nil || a.status != status {
			t.Errorf("the password %.4s: %v, %d %s", secret, err, a.status, a.body)
		}
	}

	s.ok(second.cmd.Process.Signal(syscall.SIGQUIT)) // the replica prints its goroutines, and ends
	<-second.dead
	if !strings.Contains(s.log.read(), "goroutine ") {
		t.Error("the replica has printed no goroutines")
	}
	s.noSecretIn(append(passwords, token)...)
}
