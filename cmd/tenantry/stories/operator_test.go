package stories_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// heldFor is the reason code of a run that is held because it was taken over three times without progress. The engine holds such a
// run for an operator, because the run itself may crash the replicas. In these tests, however, the replicas end because the test
// kills them.
const heldFor = "taken-over-too-often"

// The method `operate` retries all runs that are held with the code heldFor, until stop is closed, and returns the number of
// retries. The function `url` returns the address of the replica for the nth request.
func (s *site) operate(stop <-chan struct{}, url func(n int) string) (retried int) {
	pressed := map[string]time.Time{}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return retried
		case <-time.After(500 * time.Millisecond):
		}
		at := url(n)
		var page struct {
			Runs []struct {
				ID     string
				Reason struct{ Kind, Code, Detail string }
			}
		}
		if s.asOperator(http.MethodGet, at+"/v1/runs?state=waiting&limit=200", "", &page) != nil {
			continue // ask the next replica
		}
		for _, run := range page.Runs {
			switch {
			case run.Reason.Kind != "operator" || time.Since(pressed[run.ID]) < 5*time.Second:
				continue
			case run.Reason.Code != heldFor:
				s.t.Errorf("run %s waits for an operator: %+v", run.ID, run.Reason)
			}
			if s.asOperator(http.MethodPost, at+"/v1/runs/"+run.ID+"/retry", `{"why": "the replicas were killed"}`, nil) == nil {
				pressed[run.ID] = time.Now()
				retried++
			}
		}
	}
}

// asOperator calls the API as an operator.
func (s *site) asOperator(method, url, body string, into any) error {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", s.cloud.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
