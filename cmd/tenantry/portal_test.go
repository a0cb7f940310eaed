package main_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// insist makes the portal's call until its answer is final, as a portal does that got none.
func (s *site) insist(url, key, token string) workflowstest.Answer {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		a, err := s.subscribe(url, key, token)
		if err != nil || a.status != http.StatusCreated && a.status != http.StatusConflict {
			continue
		}
		var said map[string]any
		s.unmarshal(a.body, &said)
		delete(said, "request_id")
		delete(said, "errors") // the same for OpenStack's clients, the request's id included
		body, err := json.Marshal(said)
		s.ok(err)
		id, _ := strings.CutPrefix(a.header.Get("Location"), "/v1/runs/")
		final := workflowstest.Answer{Merchant: s.merchant.ID, Key: key, Run: id, Final: true, Status: a.status, Body: body}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.finals = append(s.finals, final)
		return final
	}
	s.t.Fatalf("the portal gets no final answer: %s", s.log.read())
	return workflowstest.Answer{}
}

// adopt makes a customer with a tenant, as an earlier run left them, for the portal to order for.
func (s *site) adopt() {
	s.t.Helper()
	c, err := s.billing.EnsureCustomer(s.t.Context(), billing.Customer{
		ID: uuid.NewString(), MerchantID: s.merchant.ID, Name: "Jane", Currency: "eur", Language: "eng",
	}, false)
	s.ok(err)
	s.cloud.memory.AddProject(keystone.Project{
		Name: "bs-customer-" + c.ID, Tags: []string{"tenantry", "tenantry-merchant-" + s.merchant.ID},
	})
	s.customer = c.ID
	s.others, err = workflowstest.Look(s.t.Context(), s.cloud.memory, s.billing, s.merchant.ID)
	s.ok(err)
}

// newToken is that of a new user. No text may hold it.
func (s *site) newToken() string {
	_, token := s.cloud.newUser(s.t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, token)
	return token
}
