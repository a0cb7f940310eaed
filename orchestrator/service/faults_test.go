package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/workflows"
)

// The text of an internal error, such as an error of Tenantry's database, is only in the log. Portals and operators see a fixed
// text.
func TestTheTextOfAnInternalErrorIsInTheLogAlone(t *testing.T) {
	errDatabase := errors.New("failed to connect to `user=tenantry database=accounts`: 10.0.0.7:port-of-database")
	for name, c := range map[string]struct {
		do   func() error
		code string
	}{
		"an error":          {func() error { return fmt.Errorf("reading the runs: %w", errDatabase) }, "internal"},
		"a panic":           {func() error { panic(errDatabase) }, "step-panicked"},
		"a lost lease":      {func() error { return errors.Join(saga.ErrLeaseLost, errDatabase) }, "lease-lost"},
		"an error and more": {func() error { return fmt.Errorf("%w\x00%s", errDatabase, strings.Repeat("x", 5000)) }, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			in := servicetest.New(t, servicetest.Options{Workflows: func(d workflows.Deps) ([]*saga.Definition, error) {
				w := looking(d)
				w.Classify = workflows.Classify
				w.Steps[0].Do = func(context.Context, *look) error { return c.do() }
				definition, err := saga.Define(w)
				return []*saga.Definition{definition}, err
			}})
			run, err := in.Service.Runs.Start(t.Context(), saga.Request{
				ID: "00000000-0000-7000-8000-000000000001", Workflow: "look", Merchant: in.Merchant.ID, Subject: "s", Key: "k",
				OnFailure: saga.FailureCompensates, Input: look{in.Merchant.ID},
			})
			must(t, err)
			watcher := in.Service.Runs.Watch(run.ID)
			defer watcher.Close()
			must(t, watcher.See(t.Context(), nil, func(r *saga.Run) bool { return r.Step("read").Error == nil }))

			stored, err := in.Store.Run(t.Context(), run.ID)
			must(t, err)
			events, err := in.Store.Events(t.Context(), run.ID, 0, 100)
			must(t, err)
			if failure := stored.Step("read").Error; failure == nil || string(failure.Code) != c.code || failure.Detail == "" {
				t.Errorf("the step: got %+v, want an error with the code %s", failure, c.code)
			}
			places := map[string]string{"the run's row": asText(t, *stored), "the rows of events": asText(t, events)}
			for _, path := range []string{"", "/events"} {
				for _, portal := range []bool{true, false} {
					places[fmt.Sprint(path, portal)] = shown(t, in, "/v1/runs/"+run.ID+path, portal)
				}
			}
			for place, text := range places {
				if strings.Contains(text, "accounts") || strings.Contains(text, "port-of-database") {
					t.Errorf("%s contains the database's text: %s", place, text)
				}
			}
			log := in.Log.String()
			if !strings.Contains(log, "database=accounts") || !strings.Contains(log, run.ID) {
				t.Errorf("the log does not contain the error: %s", log)
			}
		})
	}
}

func asText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}

// The function `shown` sends a GET request as the merchant's portal or as an operator, and returns the answer.
func shown(t *testing.T, in *servicetest.Installation, path string, portal bool) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.URL+path, http.NoBody)
	must(t, err)
	if portal {
		r.SetBasicAuth(in.Merchant.Key, in.Merchant.Secret)
	} else {
		r.Header.Set("X-Auth-Token", in.OperatorToken)
	}
	resp, err := in.Client.Do(r)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET %s: got %d %s", path, resp.StatusCode, text)
	}
	return string(text)
}
