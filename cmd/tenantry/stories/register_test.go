package stories_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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

// Visitors register, log in and subscribe, with a real Keystone and a real PostgreSQL, while upstreams fail and replicas are killed: about 200 calls,
// or about 500 if TENANTRY_TEST_VISITORS is 240. Keystone needs a tenth of a second of computing time for each password. No password is in the log, in the database, in an answer or in the dump of a replica's goroutines.
func TestVisitorsSignUpAndSubscribeOnRealParts(t *testing.T) {
	var victim atomic.Pointer[replica]
	var faults atomic.Bool
	var n atomic.Int32
	fails := func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		switch nth := n.Add(1); {
		case !faults.Load() || r.Method == http.MethodGet || nth%11 > 1:
			next.ServeHTTP(w, r)
		case nth%11 == 1: // the answer is lost
			next.ServeHTTP(w, r)
			*w = *httptest.NewRecorder()
			fallthrough
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	in := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		fails(w, r, next)
		if r.Method == http.MethodPost && r.URL.Path == "/v3/users" {
			if killed := victim.Swap(nil); killed != nil {
				killed.kill() // Keystone has created the user, but the replica gets no answer
			}
		}
	}}
	s := newSite(t, storetest.PostgreSQL(t), realCloud(t, in), &upstream{around: fails})
	second := s.serve("TENANTRY_LOGIN_RATE=1000")
	name := "visitor-" + uuid.NewString()
	var mu sync.Mutex
	var secrets []string
	password := func(text string) string {
		mu.Lock()
		defer mu.Unlock()
		text += " " + uuid.NewString()
		secrets = append(secrets, text)
		return text
	}
	logsIn := func(who, secret string, status int) (token string) {
		a, err := s.logsIn(second.url, who, secret)
		if token = a.header.Get("X-Subject-Token"); err != nil || a.status != status {
			t.Errorf("logging %s in with the password %.4s: %v, %d %s", who, secret, err, a.status, a.body)
		}
		secrets = append(secrets, token)
		return token
	}

	chosen := password("chosen")
	s.insist(second.url, s.registers("registers", name, chosen))
	if a, err := s.registers("again", strings.ToUpper(name), password("taken")).call(second.url); err != nil || a.status != http.StatusConflict ||
		!strings.Contains(string(a.body), "user-exists") {
		t.Errorf("the name is taken: %v, %d %s", err, a.status, a.body)
	}
	subscribed, err := s.subscribe(second.url, "subscribes", logsIn(name, chosen, http.StatusCreated))
	s.ok(err)
	if subscribed.status != http.StatusCreated {
		t.Fatalf("subscribing: %d %s", subscribed.status, subscribed.body)
	}
	if a, err := s.subscribesVisitor("one-call", "one-call-"+name, password("one call")).call(second.url); err != nil ||
		a.status != http.StatusCreated || a.header.Get("X-Subject-Token") == "" {
		t.Errorf("registering and subscribing with one call: %v, %d %s", err, a.status, a.body)
	}

	for what, order := range map[string]func(key, name, password string) portal{"registers": s.registers, "subscribes": s.subscribesVisitor} {
		first := s.serve("TENANTRY_LOGIN_RATE=1000")
		victim.Store(first)
		lost, next, who := password("lost"), password("next"), "killed-"+what+"-"+name
		if a, err := order("killed-"+what, who, lost).call(first.url); err == nil {
			t.Fatalf("%s: the replica was not killed: %d %s", what, a.status, a.body)
		}
		s.insist(second.url, order("killed-"+what, who, next))
		logsIn(who, lost, http.StatusUnauthorized)
		logsIn(who, next, http.StatusCreated)
	}

	dumped := s.serve("TENANTRY_LOGIN_RATE=1000")
	many := 90
	if text := os.Getenv("TENANTRY_TEST_VISITORS"); text != "" {
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatalf("TENANTRY_TEST_VISITORS: %v", err)
		}
	}
	faults.Store(true)
	var calls atomic.Int32
	where := func() string {
		if calls.Add(1); int(calls.Load()) > many/2 {
			_ = dumped.cmd.Process.Signal(syscall.SIGQUIT) // the replica prints its goroutines, and ends
		}
		return []string{second.url, dumped.url}[calls.Load()%2]
	}
	made := map[string]string{} // the passwords of the users who were created
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < many; i += 8 {
				who, order := fmt.Sprint("many-", i, "-", name), s.registers
				if i%3 == 0 {
					order = s.subscribesVisitor
				}
				secret := password("many")
				final, err := s.insistAt(where, order(who, who, secret), 2*time.Minute)
				if err != nil {
					t.Error(err)
				}
				if final.Status == http.StatusCreated {
					mu.Lock()
					made[who] = secret
					mu.Unlock()
				}
				_, err = s.logsIn(second.url, who, []string{secret, password("wrong")}[i%2]) // with faults, the login may be answered 503
				s.ok(err)
			}
		})
	}
	all.Wait()
	faults.Store(false)
	if len(made) < many*5/6 {
		t.Errorf("only %d of %d orders have succeeded", len(made), many)
	}
	checked := 0
	for who, secret := range made {
		if logsIn(who, secret, http.StatusCreated); checked == 20 {
			break
		}
		checked++
	}

	<-dumped.dead
	s.ok(second.cmd.Process.Signal(syscall.SIGQUIT))
	<-second.dead
	if found := strings.Count(s.log.read(), "\ngoroutine 1 "); found < 2 {
		t.Errorf("%d replicas have printed their goroutines", found)
	}
	s.noSecretIn(secrets...)
}
