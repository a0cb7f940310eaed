package stories_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The constant `patience` is a time limit: a portal repeats its call for at most this time.
const patience = 5 * time.Minute

// The type `portal` places one order. A portal may send its call several times, to any replica, always with the same idempotency
// key.
type portal struct {
	key  string
	call func(url string) (answer, error)
}

// The method `portal` returns a new portal, which places the order `o`.
func (s *site) portal(o order) portal {
	return portal{o.key, func(url string) (answer, error) { return s.send(url, o) }}
}

// The method `insist` repeats the portal's call until the answer is final (201 or 409). `insist` fails the test if no answer is
// final within a minute.
func (s *site) insist(url string, p portal) workflowstest.Answer {
	s.t.Helper()
	final, err := s.insistAt(func() string { return url }, p, time.Minute)
	if err != nil {
		s.t.Fatalf("%v: %s", err, s.log.read())
	}
	return final
}

// insistAt repeats the portal's call until the answer is final (201 or 409). The function `where` chooses a
// replica for each call, and returns the replica's address. insistAt repeats the call after an answer 202, 429 or 503, and returns
// an error after any other answer.
func (s *site) insistAt(where func() string, p portal, patience time.Duration) (workflowstest.Answer, error) {
	last := "none"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		a, err := p.call(where())
		switch {
		case err != nil:
			last = err.Error()
			continue
		case a.status == http.StatusCreated, a.status == http.StatusConflict:
			return s.final(p.key, a)
		}
		last = fmt.Sprintf("%d: %s", a.status, a.body)
		if a.status != http.StatusAccepted && a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable {
			return workflowstest.Answer{}, fmt.Errorf("the portal's order %s is refused: %s", p.key, last)
		}
	}
	return workflowstest.Answer{}, fmt.Errorf("the portal gets no final answer to order %s; the last was %s", p.key, last)
}

// The method `final` removes the request id from a portal's last answer, stores the answer, and returns the stored answer.
func (s *site) final(key string, a answer) (workflowstest.Answer, error) {
	var said map[string]any
	if err := json.Unmarshal(a.body, &said); err != nil {
		return workflowstest.Answer{}, err
	}
	delete(said, "request_id")
	delete(said, "errors") // this field repeats the problem in OpenStack's format, and contains the request id
	body, err := json.Marshal(said)
	if err != nil {
		return workflowstest.Answer{}, err
	}
	id, _ := strings.CutPrefix(a.header.Get("Location"), "/v1/runs/")
	final := workflowstest.Answer{Merchant: s.merchant.ID, Key: key, Run: id, Final: true, Status: a.status, Body: body}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finals = append(s.finals, final)
	return final, nil
}

// The method `adopt` creates a customer and its customer tenant. A run may adopt them, but no run may change them.
func (s *site) adopt() (customerID string) {
	s.t.Helper()
	customerID = s.existing()
	var err error
	s.others, err = workflowstest.Look(s.t.Context(), s.cloud.all, s.billing, s.merchant.ID)
	s.ok(err)
	return customerID
}

// The method `existing` creates a customer and its customer tenant. An order can then refer to this customer.
func (s *site) existing() (customerID string) {
	s.t.Helper()
	c, err := s.billing.EnsureCustomer(s.t.Context(), billing.Customer{
		ID: uuid.NewString(), MerchantID: s.merchant.ID, Name: "Jane", Currency: "eur", Language: "eng",
	})
	s.ok(err)
	tags := []string{"tenantry", "tenantry-merchant-" + s.merchant.ID}
	project := map[string]any{"name": "bs-customer-" + c.ID, "domain_id": s.cloud.domain, "tags": tags}
	if s.cloud.second { // the tags are in the description
		project["description"], project["tags"] = keystone.Describe("", tags), []string{}
	}
	s.cloud.call(s.t, http.MethodPost, "/projects", map[string]any{"project": project}, nil)
	return c.ID
}

// newToken creates a user and returns the user's token. No log, answer or stored text may contain this token.
func (s *site) newToken() string {
	_, token := s.cloud.newUser(s.t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, token)
	return token
}
