package stories_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The type `answer` contains the response to an HTTP request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// The type `run` is a run in an answer of the API. The type has only the fields that the tests use.
type run struct {
	ID     string         `json:"id"`
	State  string         `json:"state"`
	Result map[string]any `json:"result"`
	Steps  []struct {
		Name     string `json:"name"`
		State    string `json:"state"`
		Attempts int    `json:"attempts"`
	} `json:"steps"`
}

// The method `of` returns a text in the run's result.
func (r run) of(name string) string { return fmt.Sprint(r.Result[name]) }

// The type `order` is an order that a portal places.
type order struct {
	customer   string // id of an existing customer; empty for a new customer
	key, token string
}

// The method `subscribe` places an order for a new customer, with the portal's API key.
func (s *site) subscribe(url, key, token string, header ...string) (answer, error) {
	return s.send(url, order{key: key, token: token}, header...)
}

func (s *site) send(url string, o order, header ...string) (answer, error) {
	body := fmt.Sprintf(`{"plan_id":%q,"customer":{"name":"Jane","currency":"eur","language":"eng"}}`, s.plan.ID)
	if o.customer != "" {
		body = fmt.Sprintf(`{"plan_id":%q,"customer_id":%q,"add_user":true}`, s.plan.ID, o.customer)
	}
	req, err := http.NewRequest(http.MethodPost, url+"/v1/merchants/"+s.merchant.ID+"/subscriptions", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", o.key)
	req.Header.Set("X-Subject-Token", o.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return s.do(req)
}

// The method `get` sends a GET request for a path of the API, with the portal's API key.
func (s *site) get(url, path string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, url+path, nil)
	if err != nil {
		return answer{}, err
	}
	return s.do(req)
}

func (s *site) do(req *http.Request) (answer, error) { return s.doAs(s.apiKey, s.secret, req) }

// The method `doAs` sends a request with the API key of any merchant.
func (s *site) doAs(key, secret string, req *http.Request) (answer, error) {
	req.SetBasicAuth(key, secret)
	client := s.web
	client.Timeout = 40 * time.Second
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers.Write(body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// The method `until` polls a run until the run has the given state, and returns the run.
func (s *site) until(url, id, state string) run {
	s.t.Helper()
	var r run
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		a, err := s.get(url, "/v1/runs/"+id)
		if err != nil || a.status != http.StatusOK {
			continue
		}
		s.unmarshal(a.body, &r)
		if r.State == state {
			return r
		}
	}
	s.t.Fatalf("run %s is %s, want %s: %+v\n%s", id, r.State, state, r, s.log.read())
	return r
}
