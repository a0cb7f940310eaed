package workflows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

type happening = func(next http.RoundTripper, req *http.Request) (*http.Response, error)

// The function `answer` returns a fault in which the upstream answers with the given HTTP status and does not execute the request. The
// body of the answer is an error in the upstream's own format. If the status is 404, BillingStack's error names the object at the end
// of the path.
func answer(status int, header http.Header) happening {
	return func(_ http.RoundTripper, req *http.Request) (*http.Response, error) {
		text := fmt.Sprintf("injected %d", status)
		if status == http.StatusNotFound {
			text = path.Base(req.URL.Path)
		}
		body := fmt.Sprintf(`{"faultcode":"Client","faultstring":%q,"debuginfo":null}`, text)
		if toKeystone(req) {
			body = fmt.Sprintf(`{"error":{"code":%d,"title":"Injected","message":"injected"}}`, status)
		}
		return respond(req, status, header, body), nil
	}
}

// toKeystone reports whether the request goes to Keystone. BillingStack's paths begin with /v2/ or /v1/.
func toKeystone(req *http.Request) bool {
	return strings.Contains(req.URL.Path, "/v3/") || strings.Contains(req.URL.Path, "/v2.0/")
}

// The function `forbidden` is a fault in which Keystone's policy refuses the request. BillingStack answers 403.
func forbidden(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	if !toKeystone(req) {
		return answer(http.StatusForbidden, nil)(next, req)
	}
	body := `{"error":{"code":403,"title":"Forbidden","message":"You are not authorized to perform the requested action: identity:injected."}}`
	return respond(req, http.StatusForbidden, nil, body), nil
}

// doneButRefused is a fault in which the upstream executes the request and answers 400 nevertheless.
func doneButRefused(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	return answer(http.StatusBadRequest, nil)(next, req)
}

// noRoute is a fault in which the upstream has no route for the path of the request. The bodies are copies of the real servers'
// bodies.
func noRoute(_ http.RoundTripper, req *http.Request) (*http.Response, error) {
	header, body := http.Header{}, `{"code": 404, "title": "Not Found", "description": null}`
	if toKeystone(req) {
		header = http.Header{"Content-Type": {"text/html; charset=utf-8"}, "X-Openstack-Request-Id": {"req-1"}}
		body = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n"
	}
	return respond(req, http.StatusNotFound, header, body), nil
}

func respond(req *http.Request, status int, header http.Header, body string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	maps.Copy(h, header)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

func refusedConnection(http.RoundTripper, *http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

var errReset = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}

// The function `sent` is a fault in which the connection is reset before the upstream executes the request.
func sent(_ http.RoundTripper, _ *http.Request) (*http.Response, error) { return nil, errReset }

// The function `after` returns a fault in which the upstream executes the request. The function `spoil` then loses or changes the
// answer.
func after(spoil func(*http.Response) (*http.Response, error)) happening {
	return func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		return spoil(resp)
	}
}

func lose(resp *http.Response) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return nil, errReset
}

// The function `garble` returns a fault in which the upstream executes the request, but the given text replaces the body of the
// answer.
func garble(body string) happening {
	return after(func(resp *http.Response) (*http.Response, error) {
		_ = resp.Body.Close()
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
		if resp.StatusCode == http.StatusNoContent { // the answer has no body to replace
			return nil, errReset
		}
		return resp, nil
	})
}

// The function `gone` replaces the answer to an executed DELETE with 404, as if another request had deleted the object earlier.
func gone(resp *http.Response) (*http.Response, error) {
	_ = resp.Body.Close()
	return answer(http.StatusNotFound, nil)(nil, resp.Request)
}

func timeOut(_ http.RoundTripper, req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// commitLate is a fault in which the request times out, and the upstream executes the request later. If the fault affects all requests
// of an undo, the upstream executes these requests only after the removal of the fault. An earlier execution could let the undo succeed
// before the test has seen the undo fail.
func (f *faults) commitLate(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	call := saga.CallOf(req.Context())
	done := f.lateCall(call.RunID)
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	late := req.Clone(context.WithoutCancel(req.Context()))
	late.Body = io.NopCloser(bytes.NewReader(body))
	execute := func() {
		defer done()
		if resp, err := next.RoundTrip(late); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	<-req.Context().Done()
	if !f.whenLifted(call, execute) {
		time.AfterFunc(lateWindow/2, execute) // before the late window ends, and not close to a look-up of the effect
	}
	return nil, req.Context().Err()
}

// Outcomes of a run whose call has a fault.
const (
	succeeds    = "succeeded"
	compensates = "compensated"
	waits       = "waiting for the upstream"    // after the fault is removed, the run succeeds or is compensated
	blocked     = "waiting for an operator"     // after the fault is removed and an operator retries the run, the run succeeds
	undoing     = "compensating, with a reason" // after the fault is removed, the run is compensated
	stuck       = "stuck"                       // after the fault is removed and an operator retries the run, the run is compensated
)

type ends workflowstest.Ends

// The type `row` contains a fault, and the expected outcomes of runs in which one call has the fault once or always. The outcomes
// are the same for every workflow. The keys of the maps are the names of upstreams.
type row struct {
	fault  string
	happen happening
	do     map[string]ends
	undo   map[string]ends
	read   map[string]ends
}

// The method `forward` returns the outcomes of a run that can no longer be compensated: such a run waits for an operator instead.
func (e ends) forward() ends {
	for _, end := range []*string{&e.Once, &e.Always} {
		if *end == compensates {
			*end = blocked
		}
	}
	return e
}

func both(e ends) map[string]ends { return map[string]ends{"keystone": e, "billing": e, "exchange": e} }

func (f *faults) table() []row {
	retryAfter := http.Header{"Retry-After": {"1"}}
	refusal, retry, unknown := ends{compensates, compensates}, ends{succeeds, compensates}, ends{succeeds, compensates}
	down := ends{succeeds, waits}
	found := ends{compensates, compensates}
	lookedUp := map[string]ends{"keystone": {succeeds, succeeds}, "billing": {succeeds, succeeds}, "exchange": unknown}
	undoRefused, undoRetry := ends{stuck, stuck}, ends{compensates, undoing}
	return []row{
		{"400", answer(400, nil), both(refusal), both(undoRefused), both(refusal)},
		{"401", answer(401, nil), map[string]ends{"keystone": down, "billing": down, "exchange": {succeeds, compensates}}, both(undoRetry), both(down)},
		{
			"403", answer(403, nil),
			map[string]ends{"keystone": refusal, "billing": down, "exchange": retry},
			map[string]ends{"keystone": undoRefused, "billing": undoRetry},
			map[string]ends{"keystone": refusal, "billing": down},
		},
		{
			"403 by policy", forbidden, // a request is repeated once, after a new login
			map[string]ends{"keystone": {succeeds, blocked}, "billing": down, "exchange": retry},
			map[string]ends{"keystone": {compensates, stuck}, "billing": undoRetry},
			map[string]ends{"keystone": {succeeds, blocked}, "billing": down},
		},
		{
			"404", answer(404, nil),
			// A 404 from BillingStack to a POST does not name an object, so BillingStack counts as down.
			map[string]ends{"keystone": refusal, "billing": down, "exchange": {succeeds, succeeds}},
			nil,
			// If an upstream answers 404 to the read of a list or of a listed project, the upstream counts as down.
			map[string]ends{"keystone": down, "billing": down},
		},
		{"404 without a route", noRoute, both(down), both(undoRetry), both(down)},
		{"404, already gone", after(gone), nil, both(found), nil},
		{"409", answer(409, nil), both(refusal), both(undoRefused), both(refusal)},
		{"413", answer(413, nil), both(refusal), both(undoRefused), both(refusal)},
		{"429 with Retry-After", answer(429, retryAfter), both(retry), both(undoRetry), both(retry)},
		{"500", answer(500, nil), both(unknown), both(undoRetry), both(retry)},
		{"502", answer(502, nil), map[string]ends{"keystone": unknown, "billing": unknown, "exchange": down}, both(undoRetry), map[string]ends{"keystone": down, "billing": retry}},
		{"503", answer(503, nil), both(down), both(undoRetry), both(down)},
		{"connection refused", refusedConnection, both(down), both(undoRetry), both(down)},
		{"reset before the commit", sent, both(unknown), both(undoRetry), both(retry)},
		{"reset after the commit", after(lose), lookedUp, both(found), both(retry)},
		{"time-out", timeOut, both(unknown), both(undoRetry), both(retry)},
		{"commit after the time-out", f.commitLate, both(unknown), both(undoRetry), nil},
		{"truncated answer", garble(`{"id": "12`), lookedUp, both(found), both(retry)},
		{"answer that is not JSON", garble("<html>hello</html>"), lookedUp, both(found), both(retry)},
	}
}

// TestEveryFaultEndsAsItShould tries every fault with every workflow.
func TestEveryFaultEndsAsItShould(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) { everyFault(t, database, keystonetest.Options{}) })
}

func TestEveryFaultEndsAsItShouldWithIdentityV2(t *testing.T) {
	t.Parallel()
	everyFault(t, storetest.SQLite(t), keystonetest.Options{Pike: true})
}

// everyFault injects each fault into each step of each trial.
func everyFault(t *testing.T, database string, keystone keystonetest.Options) {
	// All cases share the upstreams. The failed calls of one case must not open a circuit, because all other cases would then
	// wait.
	neverOpen := func(o *service.Options) { o.TripsAfter = math.MaxUint32 }
	// In the world `w`, a step of each run always fails, and the run may reach its deadline. The runs in the world `patient` must not
	// reach their deadline, and have more time than a busy machine needs.
	patient := newWorldOn(t, another(t, database), keystone, neverOpen, func(o *service.Options) { o.Deadline = 2 * time.Minute })
	w := newWorldOn(t, database, keystone, neverOpen)
	room := make(chan struct{}, 48)
	var all sync.WaitGroup
	try := func(name string, test func(t *testing.T)) {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			t.Run(name, test)
		})
	}
	for _, trial := range trialsOn(database) {
		if keystone.Pike {
			trial = withoutBilling(trial)
		}
		for _, row := range rowsOn(database, patient.faults.table()) {
			patient.tryRow(trial, row, 1, []bool{false, true}, try)
			patient.tryRow(trial, row, always, []bool{true}, try)
		}
		for _, row := range rowsOn(database, w.faults.table()) {
			w.tryRow(trial, row, always, []bool{false}, try)
		}
	}
	all.Wait()
}

// rowsOn returns the rows for a database. Faults with the same outcomes make the engine store the same data. Therefore, on PostgreSQL,
// the result contains only the first of the rows with the same outcomes.
func rowsOn(database string, all []row) (chosen []row) {
	for _, r := range all {
		same := func(other row) bool {
			return maps.Equal(r.do, other.do) && maps.Equal(r.undo, other.undo) && maps.Equal(r.read, other.read)
		}
		if strings.HasPrefix(database, "sqlite:") || !slices.ContainsFunc(chosen, same) {
			chosen = append(chosen, r)
		}
	}
	return chosen
}

// withoutBilling returns the trial without the steps that call only BillingStack. The version of the Identity API does not matter to them.
func withoutBilling(trial workflowstest.Trial) workflowstest.Trial {
	ofBilling := func(_, service string) bool { return service == workflowstest.Billing }
	trial.Do, trial.Undo = maps.Clone(trial.Do), maps.Clone(trial.Undo)
	maps.DeleteFunc(trial.Do, ofBilling)
	maps.DeleteFunc(trial.Undo, ofBilling)
	trial.Reads = slices.DeleteFunc(slices.Clone(trial.Reads), func(service string) bool { return service == workflowstest.Billing })
	return trial
}

// trialsOn returns the trials for a database. The variants of a workflow make different calls, but store the same kinds of data.
// Therefore, on PostgreSQL, the result contains only the first variant of each workflow.
func trialsOn(database string) []workflowstest.Trial {
	all := workflowstest.Trials()
	if strings.HasPrefix(database, "sqlite:") {
		return all
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(trial workflowstest.Trial) bool {
		d, err := trial.Define(workflows.Deps{})
		if err != nil || trial.Variant == "" {
			return err != nil
		}
		again := seen[d.Name]
		seen[d.Name] = true
		return again
	})
}

// The constant `always` is the number of failures of a step that never succeeds.
const always = 1 << 30

// tryRow injects one fault into every step of a workflow: into the Do of the step, into its Undo, or into both.
func (w *world) tryRow(trial workflowstest.Trial, r row, times int, undos []bool, try func(name string, test func(t *testing.T))) {
	for _, undo := range undos {
		steps, of, what := trial.Do, r.do, "do "
		if undo {
			steps, of, what = trial.Undo, r.undo, "undo "
		}
		for _, step := range slices.Sorted(maps.Keys(steps)) {
			e := of[steps[step]]
			if !undo && slices.Contains(trial.Pivots, step) {
				e = e.forward()
			}
			if special, ok := trial.Ends[what+step+", "+r.fault]; ok {
				e = ends(special)
			}
			if of != nil {
				try(fmt.Sprintf("%s%s/%s/%s", what, step, r.fault, often(times)), func(t *testing.T) {
					w.tryFault(t, trial, r, step, undo, times, e)
				})
			}
		}
	}
	for _, service := range trial.Reads {
		if r.read != nil && slices.Contains(undos, false) {
			try(fmt.Sprintf("%s of %s/%s/%s", trial.Reading, service, r.fault, often(times)), func(t *testing.T) {
				w.tryRead(t, trial, r, service, times)
			})
		}
	}
}

func often(times int) string {
	if times == 1 {
		return "once"
	}
	return "always"
}

// tryRead injects the fault into the reads of one step. The order names an existing customer.
func (w *world) tryRead(t *testing.T, trial workflowstest.Trial, r row, service string, times int) {
	g, token := w.groundOf(t, trial)
	if trial.Follows == nil {
		g.CustomerID, g.CheckedAt = w.oldCustomer("tenantry-merchant-"+w.Merchant.ID), time.Time{}
	}
	w.faults.setReads(g.RunID, trial.Reading, service, times, r.happen)
	w.accept(trial.Request(g), token)
	e := r.read[service]
	if special, ok := trial.Ends["read "+service+", "+r.fault]; ok {
		e = ends(special)
	}
	w.see(t, g.RunID, trial.Reading, times, e)
}

// tryFault injects the fault into the writes of one step.
func (w *world) tryFault(t *testing.T, trial workflowstest.Trial, r row, step string, undo bool, times int, e ends) {
	g, token := w.groundOf(t, trial)
	w.faults.set(g.RunID, step, undo, times, r.happen)
	switch {
	case undo && step == trial.Refused:
		w.faults.set(g.RunID, step, false, 1, doneButRefused)
	case undo:
		w.faults.set(g.RunID, trial.Refused, false, 1, answer(http.StatusBadRequest, nil))
	}
	w.accept(trial.Request(g), token)
	w.see(t, g.RunID, step, times, e)
}

// The method `see` waits until the run has the expected outcome. If the run then needs a retry, `see` removes the fault, retries
// the run, and waits until the run has ended.
func (w *world) see(t *testing.T, id, step string, times int, e ends) {
	want := e.Once
	if times > 1 {
		want = e.Always
	}
	var waited int
	run := w.until(t, id, func(r *saga.Run) bool {
		if end(r) == want {
			waited++
		}
		return end(r) == want && (want != waits && want != undoing || waited > 1) || over(r)
	})
	if got := end(run); got != want {
		t.Fatalf("ended %q, want %q: %s", got, want, describe(run))
	}
	if want == waits || want == blocked || want == undoing || want == stuck {
		if run.Reason.Detail == "" || run.Reason.FixBy == "" || run.Reason.Step != step {
			t.Errorf("the reason has no Detail, no FixBy, or a step other than %s: %+v", step, run.Reason)
		}
		if run.Reason.Code == "keystone-blocked" && !strings.Contains(run.Reason.Detail, "lacks a permission: identity:injected") {
			t.Errorf("the reason does not name the missing permission: %+v", run.Reason)
		}
		w.faults.lift(id)
		err := ask(w, saga.Action{RunID: id, Name: saga.Retry, Who: "op", Why: "it is repaired"})
		_, refused := errors.AsType[*saga.RefusedError](err) // the run may have ended since the fault was removed
		if _, gone := errors.AsType[*saga.RetryRefusedError](err); err != nil && !refused && !gone {
			t.Fatalf("retrying the run: %v", err)
		}
		run = w.until(t, id, func(r *saga.Run) bool { return r.State.Ended() || r.AwaitsPassword() })
		if run.AwaitsPassword() { // the fault lasted longer than the service keeps passwords
			w.ok(w.Service.Runs.HandOver(t.Context(), id, "another password"))
			run = w.until(t, id, func(r *saga.Run) bool { return r.State.Ended() })
		}
		want = compensates
		if e.Always == waits || e.Always == blocked {
			want = succeeds
		}
		if got := end(run); got != want {
			t.Fatalf("ended %q after the repair, want %q: %s", got, want, describe(run))
		}
	}
	w.faults.awaitLate(id)
	for _, broken := range w.checkRun(run) {
		t.Errorf("%s\nthe run: %s", broken, describe(run))
	}
}

func end(r *saga.Run) string {
	switch {
	case r.State == saga.Waiting && r.Reason.Kind == saga.WaitsForUpstream:
		return waits
	case r.State == saga.Waiting && r.Reason.Kind == saga.WaitsForOperator:
		return blocked
	case r.State == saga.Compensating && r.Reason != nil && r.Reason.Kind != saga.WaitsForLateWindow:
		return undoing
	}
	return string(r.State)
}

func decode[T any](t *testing.T, encoded []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(encoded, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func fields(t *testing.T, output []byte) []string {
	t.Helper()
	if len(output) == 0 {
		return nil
	}
	return slices.Collect(maps.Keys(decode[map[string]any](t, output)))
}
