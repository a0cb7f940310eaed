package stories_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A run that was taken over three times before a step of it came to a result is held for an operator: it may be what
// kills the replicas. Here it is not.
const heldFor = "taken-over-too-often"

// operate looks for held runs and has them go on, as an operator does who knows that nothing is wrong with them, until stop.
func (w *world) operate(stop <-chan struct{}) {
	pressed := map[string]time.Time{}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(500 * time.Millisecond):
		}
		url := w.somewhere(n)()
		var page struct {
			Runs []struct {
				ID     string
				Reason struct{ Kind, Code, Detail string }
			}
		}
		if w.asOperator(http.MethodGet, url+"/v1/runs?state=waiting&limit=200", "", &page) != nil {
			continue // by the next replica, then
		}
		for _, run := range page.Runs {
			switch {
			case run.Reason.Kind != "operator" || time.Since(pressed[run.ID]) < 5*time.Second:
				continue
			case run.Reason.Code != heldFor:
				w.t.Errorf("run %s waits for an operator: %+v", run.ID, run.Reason)
			}
			if w.asOperator(http.MethodPost, url+"/v1/runs/"+run.ID+"/retry", `{"why": "PostgreSQL was away"}`, nil) == nil {
				pressed[run.ID] = time.Now()
				w.held.Add(1)
			}
		}
	}
}

// asOperator calls the API as an operator does.
func (w *world) asOperator(method, url, body string, into any) error {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", w.site.cloud.token)
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
