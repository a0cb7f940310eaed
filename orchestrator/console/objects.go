package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The page of an object has runsOfObject runs, and entriesOfObject entries of the ledger.
const (
	runsOfObject    = 10
	entriesOfObject = 50
)

// The type `objectPage` is the part that the pages of a subscription, a customer, a tenant and a user have in common.
type objectPage struct {
	Kind, ID, Merchant string
	Now                time.Time
	Portal             bool
	Runs               []row
	MoreRuns           string // the address of the list of all runs, if there are more runs
	Entries            []ledgerEntry
	LedgerFault        string
	First, Next        string // the addresses of the other pages of the ledger
	Findings           []client.Finding
}

// The type `ledgerEntry` is an entry of the ledger, with the time at which the page was made.
type ledgerEntry struct {
	client.LedgerEntry

	Now time.Time
}

// Made returns the time at which the entry was made.
func (e ledgerEntry) Made() moment { return moment{e.At, e.Now} }

// Removed returns the time at which the object was removed.
func (e ledgerEntry) Removed() *moment {
	if e.RemovedAt == nil {
		return nil
	}
	return &moment{*e.RemovedAt, e.Now}
}

// The type `ref` is an id, with the path of the page of its object. If the object has no page, the path is empty.
type ref struct{ ID, Path string }

// The function `refer` is a function of the templates: it returns the reference to an object.
func refer(kind, id any) ref {
	text := plainOf(id)
	return ref{text, objectPath(plainOf(kind), text)}
}

// objectPath returns the path of the page of an object. If there is no such page, the result is empty. A role assignment leads to its project.
func objectPath(kind, id string) string {
	if kind == "role-assignment" {
		kind = "project"
		id, _, _ = strings.Cut(id, "/")
	}
	sections := map[string]string{
		"subscription": "/subscriptions/", "customer": "/customers/", "project": "/tenants/", "user": "/users/", "run": "/runs/", "merchant": "/merchants/",
	}
	section := sections[kind]
	if section == "" || id == "" {
		return ""
	}
	return Path + section + url.PathEscape(id)
}

// kindOfResult returns the kind of the object whose id is the result with this name. If the result is not an id, the kind is empty.
func kindOfResult(name string) string {
	switch {
	case strings.HasSuffix(name, "tenant_id"):
		return "project"
	case strings.HasSuffix(name, "_id"):
		return strings.TrimSuffix(name, "_id")
	}
	return ""
}

// The method `object` reads the runs, the ledger and the findings about an object. If no run is about the object, and no audit has found it, the
// error has a page of its own.
func (c *console) object(e echo.Context, api *client.ClientWithResponses, kind string) (o objectPage, err error) {
	p, _ := personOf(e)
	o = objectPage{Kind: kind, ID: typedQuery(e.Param("id")), Merchant: p.Merchant, Now: c.Now(), Portal: p.Portal()}
	if err := o.readRuns(e.Request().Context(), api); err != nil {
		return o, err
	}
	if err := o.readLedger(e, api); err != nil {
		return o, err
	}
	if kind == "customer" && o.First == "" {
		if err := o.readRunsOfLedger(e.Request().Context(), api); err != nil {
			return o, err
		}
	}
	switch {
	case len(o.Runs) > 0:
		o.Merchant = o.Runs[0].MerchantID
	case len(o.Entries) > 0:
		o.Merchant = o.Entries[0].MerchantID
	case o.Merchant == "":
		o.Merchant = e.FormValue("merchant")
	}
	if len(o.Runs)+len(o.Entries)+len(o.Findings) == 0 && (o.Portal || o.Merchant == "") {
		return o, &problem{status: http.StatusNotFound, title: "There is no such " + o.Word(), detail: "No run is about this id."}
	}
	return o, nil
}

// Word returns the word for the kind of the object. A project of a run is called a tenant.
func (o objectPage) Word() string {
	if o.Kind == "project" {
		return "tenant"
	}
	return o.Kind
}

func (o *objectPage) readRuns(ctx context.Context, api *client.ClientWithResponses) error {
	q := client.ListRunsParams{Limit: new(runsOfObject)}
	if o.Kind == "user" {
		q.User = &o.ID
	} else {
		q.Object = &[]string{o.Kind + ":" + o.ID}
	}
	answer, err := api.ListRunsWithResponse(ctx, &q)
	if err != nil {
		return err
	}
	list, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	for _, r := range list.Runs {
		o.Runs = append(o.Runs, row{r, o.Now})
	}
	for _, link := range list.Links {
		if link.Rel == "next" {
			o.MoreRuns = Path + "/runs?q=" + url.QueryEscape(o.ID)
		}
	}
	return nil
}

// readRunsOfLedger adds the newest runs of the ledger that ListRuns does not find. For example, a run about a customer's subscription does not
// record the customer.
func (o *objectPage) readRunsOfLedger(ctx context.Context, api *client.ClientWithResponses) error {
	var ids []string
	for _, one := range o.Entries {
		if !slices.Contains(ids, one.RunID) && len(ids) < runsOfObject {
			ids = append(ids, one.RunID)
		}
	}
	for _, id := range ids {
		if slices.ContainsFunc(o.Runs, func(r row) bool { return r.ID == id }) {
			continue
		}
		answer, err := api.GetRunWithResponse(ctx, id, &client.GetRunParams{})
		if err != nil {
			return err
		}
		if answer.JSON200 != nil {
			o.Runs = append(o.Runs, row{*answer.JSON200, o.Now})
		}
	}
	slices.SortFunc(o.Runs, func(a, b row) int { return cmp.Compare(b.ID, a.ID) })
	return nil
}

func (o *objectPage) readLedger(e echo.Context, api *client.ClientWithResponses) error {
	q := client.ListLedgerParams{Limit: new(entriesOfObject)}
	switch o.Kind {
	case "user":
		q.UserID = &o.ID
	case "project":
		q.ProjectID = &o.ID
	case "customer":
		q.CustomerID = &o.ID
	case "subscription":
		q.SubscriptionID = &o.ID
	}
	if marker := e.QueryParam("marker"); marker != "" {
		q.Marker, o.First = &marker, withoutMarker(e.Request().URL)
	}
	answer, err := api.ListLedgerWithResponse(e.Request().Context(), &q)
	if err != nil {
		return err
	}
	page, fault, err := partOf(answer.JSON200, answer.HTTPResponse, answer.Body)
	if page == nil {
		o.LedgerFault = fault
		return err
	}
	for _, one := range page.Entries {
		o.Entries = append(o.Entries, ledgerEntry{one, o.Now})
	}
	o.Findings, o.Next = page.Findings, nextPage(e.Request().URL, page.Links)
	return nil
}

// The function `partOf` returns the content of a part of a page. If the API has refused the request for the part, `fault` has the reason. The
// page then shows only its other parts. Only a person who is signed out gets an error.
func partOf[T any](body *T, response *http.Response, text []byte) (got *T, fault string, err error) {
	if body != nil {
		return body, "", nil
	}
	fault, err = faultOf(refusal(response, text))
	return nil, fault, err
}

// faultOf returns the text that a page shows about a refusal of the API. Only a person who is signed out gets an error instead.
func faultOf(refused error) (fault string, err error) {
	if p, ok := errors.AsType[*problem](refused); ok && !p.ends {
		return p.title + ": " + p.detail, nil
	}
	return "", refused
}

// readTenant reads a tenant from Keystone. If the id is empty, there is no tenant and no fault.
func readTenant(ctx context.Context, api *client.ClientWithResponses, id string) (t *client.Tenant, fault string, err error) {
	if id == "" {
		return nil, "", nil
	}
	answer, err := api.GetTenantWithResponse(ctx, id)
	if err != nil {
		return nil, "", err
	}
	return partOf(answer.JSON200, answer.HTTPResponse, answer.Body)
}

// readSubscription reads a subscription from BillingStack.
func readSubscription(
	ctx context.Context, api *client.ClientWithResponses, merchant, id string,
) (s *client.BilledSubscription, fault string, err error) {
	answer, err := api.GetSubscriptionWithResponse(ctx, merchant, id)
	if err != nil {
		return nil, "", err
	}
	return partOf(answer.JSON200, answer.HTTPResponse, answer.Body)
}

// readCustomer reads a customer from BillingStack.
func readCustomer(ctx context.Context, api *client.ClientWithResponses, merchant, id string) (s *client.BilledCustomer, fault string, err error) {
	answer, err := api.GetCustomerWithResponse(ctx, merchant, id)
	if err != nil {
		return nil, "", err
	}
	return partOf(answer.JSON200, answer.HTTPResponse, answer.Body)
}
