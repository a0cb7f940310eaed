package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func TestKeysThatAreTaken(t *testing.T) {
	w := newWorld(t)
	for name, keys := range map[string][2]string{
		"a uuid, bare and quoted":        {"8e03978e-40d5-43e8-bc93-6894a57f9324", `"8e03978e-40d5-43e8-bc93-6894a57f9324"`},
		"255 characters":                 {strings.Repeat("k", 255), `"` + strings.Repeat("k", 255) + `"`},
		"quotes and backslashes, quoted": {`"a \"b\" \\ c"`, `"a \"b\" \\ c"`},
	} {
		first, second := w.call(w.order(keys[0])), w.call(w.order(keys[1]))
		if first.status != http.StatusCreated || second.body != first.body {
			t.Errorf("%s: got %d %s\nand %d %s\nwant one order", name, first.status, first.body, second.status, second.body)
		}
	}
	if got := w.runs(); got != 3 {
		t.Errorf("got %d runs, want 3", got)
	}
}

func TestPreferences(t *testing.T) {
	w := newWorld(t)
	for prefer, applied := range map[string]string{
		"":                      "",
		"wait=20":               "wait=20",
		`Wait = "20"`:           "wait=20",
		"wait=99":               "wait=30",
		"wait=99999999999":      "wait=30",
		"wait=5, wait=20":       "wait=5",
		"wait=-1":               "",
		"wait=soon":             "",
		"handling=lenient;wait": "",
		"wait=7; foo=bar":       "wait=7",
	} {
		q := w.order("k")
		q.header.Set("Prefer", prefer)
		if got := w.call(q).header.Get("Preference-Applied"); got != applied {
			t.Errorf("Prefer: %s: got %q applied, want %q", prefer, got, applied)
		}
	}
}

// TestClient calls the API with the generated client.
func TestClient(t *testing.T) {
	w := newWorld(t)
	portal := func(_ context.Context, r *http.Request) error {
		r.SetBasicAuth(w.Merchant.Key, w.Merchant.Secret)
		return nil
	}
	c, err := client.NewClientWithResponses(w.URL, client.WithRequestEditorFn(portal))
	must(t, err)
	got, err := c.SubscribeWithResponse(t.Context(), w.Merchant.ID,
		&client.SubscribeParams{IdempotencyKey: `"k"`, XSubjectToken: &w.UserToken},
		client.SubscribeRequest{PlanID: w.Merchant.Plan, Customer: &client.NewCustomer{Name: "Ada", Currency: new("nok"), Language: new("nor")}})
	must(t, err)
	if got.JSON201 == nil || got.JSON201.State != client.RunStateSucceeded || got.JSON201.Result["customer_id"] == "" {
		t.Fatalf("got %s %s", got.Status(), got.Body)
	}
	run, err := c.GetRunWithResponse(t.Context(), got.JSON201.ID, nil)
	must(t, err)
	if run.JSON200 == nil || run.JSON200.ID != got.JSON201.ID {
		t.Errorf("the run: got %s %s", run.Status(), run.Body)
	}
	refused, err := c.GetRunWithResponse(t.Context(), nobody, nil)
	must(t, err)
	if p := refused.ApplicationProblemJSON404; p == nil || p.Type != "/problems/run-not-found" {
		t.Errorf("no run: got %s %s", refused.Status(), refused.Body)
	}
}
