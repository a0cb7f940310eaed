package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `portal` places one order. A portal repeats its order with the same idempotency key until it gets a final answer.
type portal struct {
	w     *world
	name  string
	plan  orderPlan
	s     seller
	key   string
	user  string
	body  string // the request's body
	token string

	secret string // the last password, if the portal registers a user
}

// lastRun returns the newest run of an order, or nil if the order has no run yet.
func (w *world) lastRun(order int) (last *saga.Run) {
	for _, r := range w.store.Everything().Runs {
		if r.Key == fmt.Sprint("key-", order) {
			last = r
		}
	}
	return last
}

// subscriptionOf returns the id of the subscription that a run of subscribe makes.
func subscriptionOf(r *saga.Run) string {
	var order workflows.Order
	if err := json.Unmarshal(r.Input, &order); err != nil {
		panic(err)
	}
	return order.SubscriptionID
}

// The method `old` returns the existing customer of the order, or nil if the customer is new.
func (p *portal) old() *oldCustomer {
	if p.plan.Customer == 0 {
		return nil
	}
	return &p.s.customers[(p.plan.Customer-1)%len(p.s.customers)]
}

func newPortal(w *world, n, twin int, o orderPlan) *portal {
	p := &portal{w: w, name: fmt.Sprintf("portal %d.%d", n, twin), plan: o, s: w.sellers[o.Merchant], key: fmt.Sprint("key-", n)}
	if o.registers() { // each call has its own body
		return p
	}
	if o.Of > 0 {
		body := map[string]any{"why": "a test"}
		if of := trials[o.Trial].Body; of != nil {
			maps.Copy(body, of(workflowstest.Ground{NewPlanID: p.s.plans[o.Plan]}))
		}
		text, err := json.Marshal(body)
		w.ok(err)
		p.user, p.body = w.users[o.User], string(text)
		return p
	}
	if o.Customer == 0 {
		p.user = w.users[o.User]
		p.body = fmt.Sprintf(`{"plan_id":%q,"customer":{"name":"New","currency":"eur","language":"eng"}}`, p.s.plan)
		return p
	}
	old := p.old()
	p.user = old.user
	if o.AddUser {
		p.user = w.users[o.User]
	}
	p.body = fmt.Sprintf(`{"plan_id":%q,"customer_id":%q,"add_user":%t}`, p.s.plan, old.id, o.AddUser || old.bare)
	return p
}

// The method `order` repeats the request until the answer is final.
func (p *portal) order() {
	defer func() {
		p.w.driver.mu.Lock()
		defer p.w.driver.mu.Unlock()
		p.w.open--
	}()
	for try := 1; !p.w.isOver(); try++ {
		status, header, body := p.ask(try)
		p.w.driver.remark("%s hears %d", p.name, status)
		if p.take(status, header, body) || p.plan.SignUp.GivesUp {
			return
		}
		wait := min(time.Duration(try)*3*time.Second, time.Minute)
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
			wait = time.Duration(seconds) * time.Second
		}
		p.w.driver.sleep(wait+p.w.driver.latency(p.name, try, "again"), p.name+" again")
	}
}

// The method `ask` sends the request to one of the replicas. A replica that has ended or is paused does not answer.
func (p *portal) ask(try int) (status int, header http.Header, body []byte) {
	d := p.w.driver
	if len(p.w.replicas) == 0 {
		return 0, http.Header{}, nil
	}
	r := p.w.replicas[d.chance(p.name, try, "via")%uint64(len(p.w.replicas))]
	if r.dead || r.hasEnded() {
		return 0, http.Header{}, nil
	}
	who := fmt.Sprint(p.name, " try ", try)
	if p.plan.Trial == 0 && (p.token == "" || try%3 == 0) { // tokens expire
		p.token = p.w.issueToken(p.user)
	}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), actorKey{}, who), p.plan.Patience)
	defer cancel()
	path := "/v1/merchants/" + p.s.id + "/subscriptions"
	switch {
	case p.plan.registers():
		if p.body = p.registration(r, try); p.plan.Trial == register {
			path = "/v1/merchants/" + p.s.id + "/users"
		}
	case p.plan.Of > 0:
		run := p.w.lastRun(p.plan.Of - 1)
		if run == nil {
			return 0, http.Header{}, nil
		}
		path += "/" + subscriptionOf(run) + "/" + trials[p.plan.Trial].Operation
	case p.plan.Trial > 0:
		return p.start(ctx, r, who)
	}
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader([]byte(p.body)))
	req.RemoteAddr = "127.0.0.1:1"
	req.SetBasicAuth(p.s.key, p.s.secret)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", `"`+p.key+`"`)
	if p.plan.Trial == 0 {
		req.Header.Set("X-Subject-Token", p.token)
	}
	req.Header.Set("Prefer", fmt.Sprint("wait=", d.chance(p.name, try, "wait")%20))
	r.awaitTurn(who)
	answer := httptest.NewRecorder()
	r.api.ServeHTTP(answer, req)
	r.admitted(who)
	if r.dead || ctx.Err() != nil { // the answer was lost
		return 0, http.Header{}, nil
	}
	p.w.told(who, answer.Body.String())
	if p.plan.registers() && answer.Code == http.StatusConflict && !bytes.Contains(answer.Body.Bytes(), []byte("run-compensated")) {
		p.turnedAway()
	}
	return answer.Code, answer.Header(), answer.Body.Bytes()
}

// The method `start` passes an order directly to a replica, because the API has no operation for the order's workflow. `start`
// returns the answer in the form that the API uses.
func (p *portal) start(ctx context.Context, r *replica, who string) (status int, header http.Header, body []byte) {
	r.awaitTurn(who)
	if ctx.Err() != nil { // the portal has hung up
		r.admitted(who)
		return 0, http.Header{}, nil
	}
	g := workflowstest.Ground{
		RunID: r.newID(), MerchantID: p.s.id, PlanID: p.s.plan, User: p.user, Cloud: merchants.DefaultCloud, DomainID: "default",
		Roles: p.w.roles, CheckedAt: r.engine.Clock.Now(),
	}
	if old := p.old(); old != nil {
		g.CustomerID = old.id
	}
	q := trials[p.plan.Trial].Request(g)
	q.Key, q.Fingerprint = p.key, p.key
	run, err := r.engine.Start(ctx, q)
	r.admitted(who)
	if errors.Is(err, saga.ErrKeyUsed) {
		run, err = r.engine.RunOfKey(ctx, p.s.id, p.key)
	}
	if r.dead || ctx.Err() != nil || err != nil {
		return 0, http.Header{}, nil
	}
	result, err := r.engine.Result(run)
	p.w.ok(err)
	header = http.Header{"Location": {"/v1/runs/" + run.ID}}
	switch run.State {
	case saga.Succeeded:
		return http.StatusCreated, header, result
	case saga.Compensated:
		return http.StatusConflict, header, append([]byte("run-compensated: "), result...)
	default:
		return http.StatusAccepted, header, result
	}
}

// awaitTurn waits until the replica can admit this request.
func (r *replica) awaitTurn(who string) {
	d := r.world.driver
	for try := 1; !r.admit(who); try++ {
		d.sleep(20*d.latency(who, "turn", try), who+" turn")
	}
}

// The method `admit` reports whether the replica can admit this request now. Until the run of an admitted request is stored, the replica
// admits no other request. Without this limit, several requests could share one read, and get the result at the same time. The run ids
// of these requests would then differ between replays.
func (r *replica) admit(who string) bool {
	r.world.driver.mu.Lock()
	defer r.world.driver.mu.Unlock()
	if r.admitting != "" {
		return false
	}
	r.admitting = who
	return true
}

func (r *replica) admitted(who string) {
	r.world.driver.mu.Lock()
	defer r.world.driver.mu.Unlock()
	if r.admitting == who {
		r.admitting = ""
	}
}

// The method `take` records the answer, and reports whether the answer is final.
func (p *portal) take(status int, header http.Header, body []byte) bool {
	if status == http.StatusConflict && !bytes.Contains(body, []byte("run-compensated")) {
		return p.plan.registers() || p.plan.Of > 0 && !bytes.Contains(body, []byte("subscription-not-ready"))
	}
	if p.plan.Of > 0 && status == http.StatusNotFound { // the run of order Of-1 has not yet made the subscription, or was compensated
		run := p.w.lastRun(p.plan.Of - 1) // the vandal may also have removed the subscription
		return p.w.findings != nil || run != nil && run.State == saga.Compensated
	}
	final := status == http.StatusCreated || status == http.StatusConflict
	if final || status == http.StatusAccepted {
		p.w.answered(workflowstest.Answer{
			Merchant: p.s.id, Key: p.key, Run: runOf.FindString(header.Get("Location") + string(body)), Final: final, Status: status,
			Body: differs.ReplaceAll(body, nil),
		})
	}
	refused := status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden
	if status >= 500 && status != http.StatusServiceUnavailable {
		p.w.answered(workflowstest.Answer{Merchant: p.s.id, Key: p.key, Status: status, Body: body})
	}
	return final || refused && !bytes.Contains(body, []byte("user-token-invalid"))
}

var (
	runOf   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	differs = regexp.MustCompile(`"(request_id)":"[^"]*",?`)
)

// askFor asks for an action on the run of an order, as an operator would.
func (w *world) askFor(n int, v actionPlan) {
	runs := w.store.Everything().Runs
	var of []*saga.Run
	for _, r := range runs {
		if r.Key == fmt.Sprint("key-", v.Order) {
			of = append(of, r)
		}
	}
	r := w.replicas[v.Via]
	if len(of) == 0 || r.dead || r.hasEnded() {
		return
	}
	run := of[len(of)-1]
	action := saga.Action{RunID: run.ID, Name: actions[v.Action], Who: "op", Why: "because"}
	if action.Name == saga.SkipStep {
		action.Step = run.Steps[v.Step%len(run.Steps)].Name
	}
	w.ask(fmt.Sprint("operator ", n), r, action)
}

func (w *world) ask(who string, r *replica, v saga.Action) {
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), actorKey{}, who), time.Minute)
	defer cancel()
	_, err := r.engine.Act(ctx, v)
	if _, refused := errors.AsType[*saga.RefusedError](err); refused {
		w.driver.remark("%s is refused %s of %s", who, v.Name, v.RunID)
		return
	}
	w.driver.remark("%s asked for %s of %s: %v", who, v.Name, v.RunID, err)
}
