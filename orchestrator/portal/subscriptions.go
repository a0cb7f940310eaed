package portal

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `subscription` is a subscription of a user.
type subscription struct {
	ID, Customer string
	Project      string // the id of its tenant in the cloud
	PlanID       string
	Plan         string // the title of the plan; empty if it is not for sale any more
	State        string // active, suspended, ending or ended; empty while it is being made
	EndsAt       *time.Time
	Actions      []string
}

// The type `owned` are the subscriptions of a user, the newest first.
type owned []subscription

// A user sees the subscriptions of the newest maxOrders orders, and of at most maxCustomers customers. Users seldom have more than one
// customer.
const (
	maxOrders    = 500
	maxCustomers = 20
)

// allOf returns the subscriptions that the user has ordered. A portal with a database would store the subscriptions of each user. This portal instead
// reads the succeeded orders of the user from Tenantry.
func (p *portal) allOf(ctx context.Context, u user) (owned, error) {
	runs, err := readAll(maxOrders, func(marker *string) ([]client.Run, client.Links, error) {
		list, _, err := read[client.RunList](p.api.ListRuns(ctx, &client.ListRunsParams{
			User: &u.ID, Workflow: new("subscribe"), State: &[]client.RunState{client.RunStateSucceeded}, Limit: new(pageSize), Marker: marker,
		}))
		return list.Runs, list.Links, err
	}, func(r client.Run) string { return r.ID })
	if err != nil {
		return nil, err
	}
	var customers, newestFirst []string
	for _, run := range runs {
		id, _ := run.Result["subscription_id"].(string)
		customer, _ := run.Result["customer_id"].(string)
		if newestFirst = append(newestFirst, id); !slices.Contains(customers, customer) && len(customers) < maxCustomers {
			customers = append(customers, customer)
		}
	}
	at := map[string]int{}
	for i, id := range newestFirst {
		at[id] = i
	}
	var all owned
	for _, customer := range customers {
		found, err := p.allOfCustomer(ctx, customer)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			if _, mine := at[s.ID]; mine { // a customer may have several users
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b subscription) int { return cmp.Compare(at[a.ID], at[b.ID]) })
	return all, nil
}

func (p *portal) allOfCustomer(ctx context.Context, customer string) (all []subscription, err error) {
	found, err := readAll(maxOrders, func(marker *string) ([]client.BilledSubscription, client.Links, error) {
		list, _, err := read[client.SubscriptionList](p.api.ListSubscriptions(ctx, p.Merchant, &client.ListSubscriptionsParams{
			Customer: &customer, Limit: new(pageSize), Marker: marker,
		}))
		return list.Subscriptions, list.Links, err
	}, func(s client.BilledSubscription) string { return s.ID })
	for _, s := range found {
		all = append(all, viewSubscription(s))
	}
	return all, err
}

func viewSubscription(s client.BilledSubscription) subscription {
	return subscription{
		ID: s.ID, Customer: s.CustomerID, Project: s.ResourceID, PlanID: s.PlanID, State: value(s.State), EndsAt: s.EndsAt, Actions: value(s.Actions),
	}
}

// The method `customer` returns the customer for the next order of the user: the customer of the newest subscription that has not ended. If there is
// no such subscription, the result is empty, because the customer is removed with its last subscription.
func (all owned) customer() string {
	for _, s := range all {
		if s.State == "active" || s.State == "suspended" {
			return s.Customer
		}
	}
	return ""
}

// The type `everything` is the content of the page with the user's subscriptions.
type everything struct {
	Underway      []progress // orders and changes that have not ended
	Subscriptions owned
}

// The method `subscriptions` lists the user's subscriptions, and the orders and changes that have not ended. A user who has closed the page of a
// run finds the run again on this page.
func (p *portal) subscriptions(w http.ResponseWriter, r *http.Request) error {
	u, _ := p.userOf(r)
	all, err := p.allOf(r.Context(), u)
	if err != nil {
		return err
	}
	live, _, err := read[client.RunList](p.api.ListRuns(r.Context(), &client.ListRunsParams{
		User: &u.ID, Limit: new(pageSize), State: &[]client.RunState{
			client.RunStatePending, client.RunStateRunning, client.RunStateWaiting, client.RunStateCompensating, client.RunStateStuck,
		},
	}))
	if err != nil {
		return err
	}
	shown := everything{Subscriptions: all}
	for i := range live.Runs {
		shown.Underway = append(shown.Underway, viewRun(&live.Runs[i]))
	}
	plans, err := p.allPlans(r.Context())
	if err != nil {
		return err
	}
	for i := range all {
		all[i].name(plans)
	}
	return p.show(w, r, http.StatusOK, "subscriptions", "My subscriptions", shown)
}

// The method `name` sets the title of the plan.
func (s *subscription) name(plans []plan) {
	if found := find(plans, s.PlanID); found != nil {
		s.Plan = found.Title
	}
}

// Can reports whether the user can ask for an action now.
func (s subscription) Can(action string) bool { return slices.Contains(s.Actions, action) }

// The type `detail` is the content of the page of a subscription.
type detail struct {
	subscription
	Others []plan // the other plans of the merchant
	Usage  *usage // nil if it cannot be shown now
	Nonce  string
	Fault  string // why the last request was refused
}

// The method `subscription` shows one of the user's subscriptions.
func (p *portal) subscription(w http.ResponseWriter, r *http.Request) error {
	s, err := p.mine(r)
	if err != nil {
		return err
	}
	return p.showSubscription(w, r, http.StatusOK, detail{subscription: s, Nonce: newNonce()})
}

func (p *portal) showSubscription(w http.ResponseWriter, r *http.Request, status int, d detail) error {
	plans, err := p.allPlans(r.Context())
	if err != nil { // the rest of the page is useful without them
		p.Log.Warn().Err(err).Msg("portal")
	}
	d.name(plans)
	d.Others = slices.DeleteFunc(slices.Clone(plans), func(other plan) bool { return other.ID == d.PlanID })
	if d.Usage, err = p.usageOf(r.Context(), d.ID); err != nil { // as above
		p.Log.Warn().Err(err).Str("subscription_id", d.ID).Msg("portal")
	}
	return p.show(w, r, status, "subscription", "Subscription", d)
}

// The method `mine` reads the subscription in the path of a request, if the user has ordered it. The API shows a portal the subscriptions of all
// users of its merchant, so the portal must check that the subscription belongs to this user.
func (p *portal) mine(r *http.Request) (s subscription, err error) {
	id := r.PathValue("id")
	if !isUUID(id) {
		return s, errNotFound
	}
	u, _ := p.userOf(r)
	runs, _, err := read[client.RunList](p.api.ListRuns(r.Context(), &client.ListRunsParams{
		User: &u.ID, Workflow: new("subscribe"), State: &[]client.RunState{client.RunStateSucceeded}, Object: &[]string{"subscription:" + id}, Limit: new(1),
	}))
	if err != nil {
		return s, err
	}
	if len(runs.Runs) == 0 {
		return s, errNotFound
	}
	found, _, err := read[client.BilledSubscription](p.api.GetSubscription(r.Context(), p.Merchant, id))
	return viewSubscription(found), err
}

// The constant `why` is the reason in the history of each run that the portal starts.
const why = "the user asked for it in the portal"

// The method `change` ends, restores or changes a subscription, and shows the run.
func (p *portal) change(w http.ResponseWriter, r *http.Request) error {
	nonce, err := nonceOf(r)
	if err != nil {
		return err
	}
	s, err := p.mine(r)
	if err != nil {
		return err
	}
	u, _ := p.userOf(r)
	action, ctx := r.PathValue("action"), r.Context()
	unique, prefer := key(action, u.ID, s.ID, nonce), new("respond-async")
	var run string
	switch action {
	case "unsubscribe":
		run, err = accepted(p.api.UnsubscribeSubscription(ctx, p.Merchant, s.ID,
			&client.UnsubscribeSubscriptionParams{IdempotencyKey: unique, Prefer: prefer}, client.ChangeRequest{Why: why}))
	case "restore":
		run, err = accepted(p.api.RestoreSubscription(ctx, p.Merchant, s.ID,
			&client.RestoreSubscriptionParams{IdempotencyKey: unique, Prefer: prefer}, client.RestoreRequest{Why: why}))
	case "change-plan":
		run, err = accepted(p.api.ChangePlan(ctx, p.Merchant, s.ID,
			&client.ChangePlanParams{IdempotencyKey: unique, Prefer: prefer}, client.ChangePlanRequest{Why: why, PlanID: r.PostFormValue("plan")}))
	default:
		return errNotFound
	}
	if err == nil {
		return p.toRun(w, r, run)
	}
	refused, _ := asRefusal(err)
	d := detail{subscription: s, Nonce: nonce, Fault: refused.wordsForForm()}
	if !refused.Retryable {
		d.Nonce = newNonce()
	}
	if refused.fields()["plan_id"] != "" {
		d.Fault = texts["plan-gone"]
	}
	p.note(r, refused)
	refused.setHeaders(w)
	return p.showSubscription(w, r, refused.shownStatus(), d)
}
