package portal

import (
	"net/http"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `order` is the content of the page on which a user confirms an order.
type order struct {
	Plan     *plan
	Customer string // the id of the user's customer; empty: the order creates a customer
	Name     string // of the new customer
	Nonce    string
	Fault    string
	Fields   map[string]string
}

// orderPage shows the plan that the user has chosen.
func (p *portal) orderPage(w http.ResponseWriter, r *http.Request) error {
	form, err := p.orderFor(r, r.URL.Query().Get("plan"))
	if err != nil {
		return err
	}
	form.Nonce = newNonce()
	return p.show(w, r, http.StatusOK, "order", "Subscribe", form)
}

func (p *portal) orderFor(r *http.Request, id string) (form order, err error) {
	all, err := p.allPlans(r.Context())
	if err != nil {
		return form, err
	}
	if form.Plan = find(all, id); form.Plan == nil {
		return form, errNotForSale
	}
	u, _ := p.userOf(r)
	mine, err := p.allOf(r.Context(), u)
	if err != nil {
		return form, err
	}
	form.Name, form.Customer = u.Name, mine.customer()
	return form, nil
}

// The method `order` subscribes the user, and shows the run. A form that is sent twice is one order.
func (p *portal) order(w http.ResponseWriter, r *http.Request) error {
	nonce, err := nonceOf(r)
	if err != nil {
		return err
	}
	u, _ := p.userOf(r)
	id, customer := r.PostFormValue("plan"), r.PostFormValue("customer")
	body := client.SubscribeRequest{PlanID: id}
	if customer != "" {
		body.CustomerID = &customer // the API checks that the user belongs to the customer
	} else {
		body.Customer = &client.NewCustomer{Name: r.PostFormValue("name")}
	}
	run, err := accepted(p.api.Subscribe(r.Context(), p.Merchant, &client.SubscribeParams{
		IdempotencyKey: key("order", u.ID, nonce), XSubjectToken: &u.Token, XVisitorAddress: visitorAddress(r), Prefer: new("respond-async"),
	}, body))
	if err == nil {
		return p.toRun(w, r, run)
	}
	refused, _ := asRefusal(err)
	switch fields := refused.fields(); {
	case refused.kind() == "user-token-invalid":
		return err
	case fields["plan_id"] != "":
		return errNotForSale
	case refused.kind() == "idempotency-key-reused": // the form was sent before, with another name: the first order stands
		http.Redirect(w, r, p.home+"subscriptions", http.StatusSeeOther)
		return nil
	}
	form, failed := p.orderFor(r, id)
	switch {
	case refused.Retryable: // the form repeats the same order, even if the plan cannot be read now
		if failed != nil {
			form.Plan = &plan{ID: id, Title: "Subscribe"}
		}
		form.Customer, form.Nonce = customer, nonce
	case failed != nil:
		return failed
	default:
		form.Nonce = newNonce()
	}
	form.Name = r.PostFormValue("name")
	form.Fault, form.Fields = refused.wordsForForm(), refused.fields()
	p.note(r, refused)
	refused.setHeaders(w)
	return p.show(w, r, refused.shownStatus(), "order", "Subscribe", form)
}

func (p *portal) toRun(w http.ResponseWriter, r *http.Request, id string) error {
	http.Redirect(w, r, p.home+"orders/"+id, http.StatusSeeOther)
	return nil
}
