package transcript_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest/transcript"
)

// Two recordings of this story have random differences: other ids, another order of the writes, and another number of reads.
func TestWhatIsLeftToChanceIsNotWritten(t *testing.T) {
	const want = `---- api
POST /v1/merchants/<merchant-1>/subscriptions
Authorization: Basic <key-1>:<secret>
Content-Type: application/json
Idempotency-Key: k
{
  "plan_id": "<plan-1>",
  "why": "<text>"
}

202
Content-Type: application/json
Location: /v1/runs/<run-1>
Retry-After: <n>
{
  "id": "<run-1>",
  "state": "<moving>",
  "updated_at": "<time>",
  "workflow": "subscribe"
}

---- api
GET /v1/runs/<run-1>

200
Content-Type: text/event-stream
{
  "stream": [
    {
      "seq": "<seq>"
    },
    {
      "seq": "<seq>",
      "step": "a"
    },
    {
      "seq": "<seq>",
      "step": "b"
    }
  ]
}

---- keystone
GET /v3/projects?name=bs-customer-<customer-1> -> 200
POST /v3/projects -> 201 {"project":{"name":"bs-customer-<customer-1>","tags":["tenantry-run-<run-1>"]}}
PUT /v3/projects/<customer_tenant-1>/users/<user-1>/roles/<role member> -> 204
    2 times
`
	for range 10 {
		dir := t.TempDir()
		t.Setenv("TENANTRY_TEST_EXCHANGES", dir)
		t.Run("story", tell)
		files, err := filepath.Glob(filepath.Join(dir, "some", "package", t.Name(), "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("got the files %q, %v, want one", files, err)
		}
		if got, err := os.ReadFile(files[0]); err != nil || string(got) != want {
			t.Fatalf("got %v\n%s\nwant\n%s", err, got, want)
		}
	}
}

func tell(t *testing.T) {
	story := transcript.New(t, "some/package")
	run, customer, tenant, role, user := newID(), newID(), newID(), newID(), newID()
	keystone := httptest.NewServer(story.Handler(transcript.Keystone, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"project": {"id": %q, "name": "bs-customer-%s"}}`, tenant, customer)
		case http.MethodPut:
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Fprintf(w, `{"roles": [{"id": %q, "name": "member"}]}`, role)
		}
	})))
	t.Cleanup(keystone.Close)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			order := []string{`{"seq": 1}`, `{"seq": 2, "step": "a"}`, `{"seq": 3, "step": "b"}`}
			if chance() {
				order[1], order[2] = order[2], order[1]
			}
			fmt.Fprintf(w, ": comment\n\ndata: %s\n\n", strings.Join(order, "\n\ndata: "))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/v1/runs/"+run)
		w.Header().Set("Retry-After", fmt.Sprint(time.Now().Nanosecond()))
		w.WriteHeader(http.StatusAccepted)
		steps := `"steps": [], "state": "running"`
		if chance() {
			steps = `"state": "pending"`
		}
		fmt.Fprintf(w, `{"id": %q, "workflow": "subscribe", "updated_at": %q, %s}`, run, time.Now().Format(time.RFC3339Nano), steps)
	}))
	t.Cleanup(api.Close)
	front := story.Front(t, transcript.API, api.URL)

	send(t, http.MethodGet, keystone.URL+"/v3/roles?name=member", "")
	story.Begin()
	send(t, http.MethodPost, front+"/v1/merchants/"+newID()+"/subscriptions", fmt.Sprintf(`{"plan_id": %q, "why": "because"}`, newID()))
	var parallel sync.WaitGroup
	for range 2 {
		parallel.Go(func() { send(t, http.MethodPut, keystone.URL+"/v3/projects/"+tenant+"/users/"+user+"/roles/"+role, "") })
	}
	parallel.Go(func() {
		send(t, http.MethodPost, keystone.URL+"/v3/projects",
			fmt.Sprintf(`{"project": {"name": "bs-customer-%s", "tags": ["tenantry-run-%s"]}}`, customer, run))
	})
	for again := true; again; again = chance() {
		send(t, http.MethodGet, keystone.URL+"/v3/projects?name=bs-customer-"+customer, "")
		send(t, http.MethodGet, front+"/v1/runs/"+run, "")
	}
	parallel.Wait()
}

func TestWhatWasRenamedIsWrittenAsItWasRecorded(t *testing.T) {
	const want = `---- api
GET /v1/runs?customer=c&limit=2

200
Content-Type: application/json
{
  "events": [
    {
      "kind": "run-compensated"
    }
  ],
  "next": "/v1/runs?customer=c&limit=2",
  "runs": [
    {
      "plan_id": "p",
      "result": {
        "customer_id": "c"
      },
      "workflow": "subscribe"
    }
  ],
  "type": "/problems/subscription-failed"
}

`
	dir := t.TempDir()
	t.Setenv("TENANTRY_TEST_EXCHANGES", dir)
	t.Run("story", func(t *testing.T) {
		story := transcript.New(t, "some/package")
		story.Begin()
		api := httptest.NewServer(story.Handler(transcript.API, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"next": "/v1/runs?limit=2&object=customer%3Ac", "type": "/problems/run-compensated",
				"events": [{"kind": "run-compensated"}],
				"runs": [{"workflow": "subscribe", "at_rest": true, "result": {"plan_id": "p", "customer_id": "c"}}]}`)
		})))
		t.Cleanup(api.Close)
		send(t, http.MethodGet, api.URL+"/v1/runs?limit=2&object=customer:c", "")
	})
	files, err := filepath.Glob(filepath.Join(dir, "some/package/*/*.txt"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got the files %q, %v, want one", files, err)
	}
	if got, err := os.ReadFile(files[0]); err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestWithoutTheVariableNothingStandsBetween(t *testing.T) {
	t.Setenv("TENANTRY_TEST_EXCHANGES", "")
	story := transcript.New(t, "some/package")
	story.Begin()
	const url = "http://127.0.0.1:1"
	handler, around := http.NewServeMux(), &http.Transport{}
	if story != nil || story.Front(t, transcript.API, url) != url || story.Handler(transcript.API, handler) != http.Handler(handler) ||
		story.Around(transcript.Keystone, around) != http.RoundTripper(around) {
		t.Error("there is a recorder between client and server")
	}
}

func send(t *testing.T, method, url, body string) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		var key [16]byte
		_, _ = rand.Read(key[:])
		r.SetBasicAuth("tk_"+hex.EncodeToString(key[:]), "ts_"+rand.Text())
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	_ = resp.Body.Close()
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

func chance() bool { return newID()[0] < '8' }
