package stories_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// Some trials use a workflow for which the API has no operation. For these trials, the test starts its own binary as the replica.
// This replica runs the same service as `tenantry serve`, with the workflows of all trials, and also accepts orders at /trials/.

const serveTrialsEnv = "TENANTRY_TEST_SERVE_TRIALS"

// servingTrials returns the command that starts a replica with the workflows of all trials.
func servingTrials() (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path)
	cmd.Env = []string{serveTrialsEnv + "=1"}
	return cmd, nil
}

// serveTrials is the main function of a replica with the workflows of all trials, and runs until the process is killed.
func serveTrials() error {
	ctx := context.Background()
	log := zerolog.New(os.Stderr)
	secret, err := base64.StdEncoding.DecodeString(os.Getenv("TENANTRY_SECRET_KEY"))
	if err != nil {
		return err
	}
	s, err := service.Start(ctx, service.Options{
		Config: service.Config{
			Listen: "127.0.0.1:0", DatabaseURL: os.Getenv("TENANTRY_DATABASE_URL"), SecretKey: secret,
			KeystoneConnections: 16, BillingURL: os.Getenv("TENANTRY_BILLING_URL"), BillingConnections: 8,
			CustomerRoles: []string{"member", "bs-admin"}, SubscriptionRoles: []string{"member"}, Domain: "default", AdminRole: "admin",
			Lease: time.Second, LateWindow: time.Second, Deadline: 15 * time.Minute, GiveUpAfter: 24 * time.Hour, MaxLiveRuns: 1000,
		},
		Log: log, Version: "trials", Cloud: clouds.FromCloud, Workflows: workflowstest.Definitions,
		Resources: workflowstest.NoResources{},
	})
	if err != nil {
		return err
	}
	behind, err := url.Parse(s.URL)
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) }})
	routes.Handle("POST /trials/{n}", counter{s.Runs})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	log.Info().Str("url", "http://"+l.Addr().String()).Msg("serving")
	return (&http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

// trialOrder is the body of a request to /trials/N, where N is the index of the trial.
type trialOrder struct {
	Key    string
	Ground workflowstest.Ground
	Before string // the id of the run that must have succeeded before this order; empty if there is none
	First  string // the id of the first run of the chain; empty if there is none, or if the trial does not need it
}

// The type `counter` handles orders at /trials/. The handler answers when the run has ended, or after 5 s at the latest.
type counter struct{ runs service.Runs }

// ServeHTTP starts a run and answers with the run. If an earlier run has the order's idempotency key, ServeHTTP answers with the
// earlier run.
func (c counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	var o trialOrder
	if _, err := fmt.Sscan(r.PathValue("n"), &n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.Ground.RunID, o.Ground.CheckedAt = uuid.Must(uuid.NewV7()).String(), time.Now()
	before, errBefore := c.run(r.Context(), o.Before)
	first, errFirst := c.run(r.Context(), o.First)
	if err := errors.Join(errBefore, errFirst); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	o.Ground.Before, o.Ground.First = before, first
	q := workflowstest.Trials()[n].Request(o.Ground)
	q.Key, q.Fingerprint = o.Key, o.Key
	run, err := c.runs.Start(r.Context(), q)
	if errors.Is(err, saga.ErrKeyUsed) {
		run, err = c.runs.RunOfKey(r.Context(), q.Merchant, q.Key)
	}
	if err == nil {
		run, err = c.await(r.Context(), run)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	status := http.StatusAccepted
	switch run.State {
	case saga.Succeeded:
		status = http.StatusCreated
	case saga.Compensated:
		status = http.StatusConflict
	}
	w.Header().Set("Location", "/v1/runs/"+run.ID)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"id": run.ID, "state": string(run.State)})
}

// The method `run` reads a run. If the id is empty, the result is nil.
func (c counter) run(ctx context.Context, id string) (*saga.Run, error) {
	if id == "" {
		return nil, nil
	}
	return c.runs.Run(ctx, id)
}

// The method `await` waits at most 5 s until a run has ended, and returns the run.
func (c counter) await(ctx context.Context, run *saga.Run) (*saga.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	watcher := c.runs.Watch(run.ID)
	defer watcher.Close()
	err := watcher.See(ctx, nil, func(r *saga.Run) bool { run = r; return !r.State.Ended() })
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return run, err
}

// orderTrial returns a value for the field `order` of a crashTrial. The number n is the trial's index in workflowstest.Trials.
func orderTrial(n int) func(*site, place, string) portal {
	return func(s *site, p place, _ string) portal {
		o := trialOrder{Key: "key", Ground: s.ground()}
		if p.Adopted {
			o.Ground.CustomerID = s.adopt()
		}
		return s.trialPortal(n, o)
	}
}

// The method `ground` creates a user, and returns the existing objects that the user's order refers to.
func (s *site) ground() workflowstest.Ground {
	s.t.Helper()
	user, _ := s.cloud.newUser(s.t)
	g := workflowstest.Ground{MerchantID: s.merchant.ID, PlanID: s.plan.ID, User: user, Cloud: "default", DomainID: s.cloud.domain}
	for _, name := range []string{"member", "bs-admin"} {
		role, err := s.cloud.memory.Role(name)
		s.ok(err)
		g.Roles = append(g.Roles, role)
	}
	return g
}

func (s *site) trialPortal(n int, o trialOrder) portal {
	return portal{o.Key, func(url string) (answer, error) {
		body, err := json.Marshal(o)
		if err != nil {
			return answer{}, err
		}
		req, err := http.NewRequest(http.MethodPost, fmt.Sprint(url, "/trials/", n), strings.NewReader(string(body)))
		if err != nil {
			return answer{}, err
		}
		return s.do(req)
	}}
}
