package stories_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/store/storetest"
)

// maxMemory is the maximum resident memory of a replica in a soak test, in MiB.
const maxMemory = 250

// The type `soak` is an installation with one replica and four merchants. The first merchant attacks the replica. All merchants
// order.
type soak struct {
	*site

	replica *replica
	shops   []shop
	token   string // a user's token
	held    string // path of the first merchant's run that waits for an operator

	hostile atomic.Pointer[[]byte] // BillingStack's answer to a request for the first merchant's plans; nil means the real answer

	orders, refused atomic.Int64 // numbers of the other merchants' orders: all orders, and refused orders
}

// In TestOneMerchantDoesNotHurtTheOthers, one merchant makes each attack in turn, while four merchants order at the usual rate. No
// order of another merchant may be refused, and the replica's memory must stay below a limit.
func TestOneMerchantDoesNotHurtTheOthers(t *testing.T) {
	turn := time.Second
	if given := os.Getenv("TENANTRY_TEST_SOAK"); given != "" {
		whole, err := time.ParseDuration(given)
		if err != nil {
			t.Fatalf("TENANTRY_TEST_SOAK, the duration: %v", err)
		}
		turn = whole / time.Duration(len(attacks))
	}
	s := newSoak(t)
	ctx, stop := context.WithCancel(t.Context())
	var orders sync.WaitGroup
	for i := range s.shops {
		orders.Go(func() { s.order(ctx, i) })
	}
	for _, a := range attacks {
		before := s.orders.Load()
		attack, end := context.WithTimeout(ctx, turn)
		var attackers sync.WaitGroup
		for i := range a.attackers {
			attackers.Go(func() {
				for attack.Err() == nil {
					a.attack(attack, s, i)
				}
			})
		}
		attackers.Wait()
		end()
		t.Logf("%s: %d orders of other merchants, %d refused so far, at most %d MiB", a.name, s.orders.Load()-before, s.refused.Load(), s.peak())
	}
	stop()
	orders.Wait()
	if s.refused.Load() > 0 || s.orders.Load() == 0 {
		t.Errorf("%d of %d orders of other merchants were refused, want none", s.refused.Load(), s.orders.Load())
	}
	if got := s.peak(); got > maxMemory {
		t.Errorf("the replica used up to %d MiB, want at most %d", got, maxMemory)
	}
}

func newSoak(t *testing.T) *soak {
	var held atomic.Bool
	var many atomic.Pointer[[]byte]
	s := &soak{}
	in := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		list := func(of string) bool { return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, s.first()+of) }
		switch hostile, subscriptions := s.hostile.Load(), many.Load(); {
		case r.Method == http.MethodPatch && !held.Load():
			http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
		case hostile != nil && list("/plans"):
			answerWith(w, *hostile)
		case subscriptions != nil && list("/subscriptions") && !strings.Contains(r.URL.RawQuery, "customer"):
			answerWith(w, *subscriptions)
		default:
			next.ServeHTTP(w, r)
		}
	}}
	s.site = newSite(t, storetest.PostgreSQL(t), realCloud(t, &upstream{}), in)
	s.env = append(s.env, "TENANTRY_LOG_LEVEL=info", "TENANTRY_LEASE=10s")
	s.shops = []shop{{s.merchant.ID, s.merchant.Name, s.plan.ID, s.apiKey, s.secret}}
	for i := range 3 {
		s.shops = append(s.shops, s.newShop(fmt.Sprint("shop ", i)))
	}
	s.run("merchant", "update", s.merchant.ID, "--on-failure", "hold")
	many.Store(new(s.manySubscriptions()))
	s.replica = s.serve()
	s.token = s.newToken()
	a, err := s.subscribe(s.replica.url, "held", s.token, "Prefer", "respond-async")
	s.ok(err)
	var r run
	s.unmarshal(a.body, &r)
	s.until(s.replica.url, r.ID, "waiting")
	s.held = "/v1/runs/" + r.ID
	held.Store(true)
	return s
}

// The method `first` returns the id of the first merchant, or "none" if no merchant exists yet.
func (s *soak) first() string {
	if len(s.shops) == 0 {
		return "none"
	}
	return s.shops[0].id
}

// answerWith answers with a JSON body, without copying the body.
func answerWith(w *httptest.ResponseRecorder, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.Body = bytes.NewBuffer(body)
}

// manySubscriptions returns BillingStack's list of 30,000 subscriptions of the first merchant. The subscriptions are not stored.
func (s *soak) manySubscriptions() []byte {
	all := make([]billing.Subscription, 30_000)
	for i := range all {
		all[i] = billing.Subscription{ID: uuid.NewString(), PlanID: s.plan.ID, CustomerID: s.merchant.ID, ResourceID: "x"}
	}
	body, err := json.Marshal(all)
	s.ok(err)
	return body
}

// The method `order` places an order of one merchant every 500 ms, until ctx ends. If the answer takes longer than 500 ms, the next
// order follows the answer at once.
func (s *soak) order(ctx context.Context, i int) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		shop := s.shops[i]
		body := fmt.Sprintf(`{"plan_id":%q,"customer":{"name":"Jane"}}`, shop.plan)
		status, answer, err := s.post(context.WithoutCancel(ctx), shop, uuid.NewString(), s.token, body)
		if i == 0 {
			continue
		}
		s.orders.Add(1)
		if err != nil || status != http.StatusCreated && status != http.StatusAccepted {
			s.refused.Add(1)
			s.t.Logf("an order of another merchant: %d %s, %v", status, answer, err)
		}
	}
}

func (s *soak) post(ctx context.Context, shop shop, key, token, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.replica.url+"/v1/merchants/"+shop.id+"/subscriptions", strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("X-Subject-Token", token)
	req.SetBasicAuth(shop.key, shop.secret)
	return exchange(req)
}

// The function `exchange` sends a request and reads up to 1 MiB of the answer.
func exchange(req *http.Request) (int, []byte, error) {
	resp, err := soakClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

var soakClient = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// The method `peak` returns the maximum resident memory of the replica so far, in MiB.
func (s *soak) peak() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.replica.cmd.Process.Pid))
	s.ok(err)
	found := peakLine.FindSubmatch(status)
	if found == nil {
		s.ok(errors.New("/proc has no VmHWM"))
	}
	n, err := strconv.Atoi(string(found[1]))
	s.ok(err)
	return n / 1024
}

// The method `get` sends a GET request, and waits for its answer or for the end of ctx. After a refusal, it waits for a moment.
func (s *soak) get(ctx context.Context, path string, with func(*http.Request)) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.replica.url+path, nil)
	if err != nil {
		return
	}
	with(req)
	rested(ctx, req)
}

// The method `send` sends a request of the first merchant in the same way as `get`.
func (s *soak) send(ctx context.Context, req *http.Request) {
	req.SetBasicAuth(s.apiKey, s.secret)
	rested(ctx, req)
}

// The function `rested` sends a request and waits for its answer. After a refusal, it waits for a moment.
func rested(ctx context.Context, req *http.Request) {
	if status, _, err := exchange(req); err != nil || slices.Contains([]int{429, 503}, status) {
		rest(ctx)
	}
}

// The method `dial` sends the beginning of a request on a new connection, and reads no answer before ctx ends.
func (s *soak) dial(ctx context.Context, line, headers, body string) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(s.replica.url, "http://"))
	if err != nil {
		rest(ctx)
		return
	}
	defer func() { _ = conn.Close() }()
	req, err := http.NewRequest(http.MethodGet, s.replica.url, nil)
	if err != nil {
		return
	}
	req.SetBasicAuth(s.apiKey, s.secret)
	_, _ = fmt.Fprintf(conn, "%s\r\nHost: x\r\nAuthorization: %s\r\nIdempotency-Key: %s\r\nX-Subject-Token: %s\r\n%s\r\n%s",
		line, req.Header.Get("Authorization"), uuid.NewString(), s.token, headers, body)
	<-ctx.Done()
}

func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}
