package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// runsOnPage is the number of runs on a page. attentionOnPage is the number of runs above them that need a person.
const (
	runsOnPage      = 50
	attentionOnPage = 20
)

// The type `runList` is the content of the page with runs.
type runList struct {
	Query, State, Workflow string // the filter, as it was typed
	States, Workflows      []string
	Portal                 bool
	Attention              []row  // the runs that need a person; only on the first page without a filter
	More                   string // the address of the list of all runs that need a person, if there are more
	Runs                   []row
	Nothing                string // why the list is empty
	Next                   string // the address of the next page
	First                  string // the address of the first page, if this is another one
	Live                   string // the address of the live updates
	Found                  *found // the object that the search has found
}

// The type `found` is an object that a search has found by its id.
type found struct{ Kind, ID string }

// Word returns the word for the object.
func (f found) Word() string { return objectPage{Kind: f.Kind}.Word() }

// foundBy returns the object that a search for runs was about, if the object has a page.
func foundBy(q client.ListRunsParams) *found {
	f := found{}
	switch {
	case q.User != nil:
		f = found{"user", *q.User}
	case q.Object != nil:
		f.Kind, f.ID, _ = strings.Cut((*q.Object)[0], ":")
	}
	if objectPath(f.Kind, f.ID) == "" {
		return nil
	}
	return &f
}

// The type `row` is a run in a list.
type row struct {
	client.Run

	Now time.Time
}

// What returns a text: the reason for which the run waits, or the failure of the run.
func (r row) What() string {
	switch {
	case r.Reason != nil:
		return r.Reason.Detail
	case r.Cause != nil:
		return r.Cause.Detail
	}
	return ""
}

// Done returns the number of steps that have succeeded or were skipped.
func (r row) Done() (n int) {
	for _, s := range r.Steps {
		if s.State == client.StepStateSucceeded || s.State == client.StepStateSkipped {
			n++
		}
	}
	return n
}

// Accepted returns the time at which the run was accepted.
func (r row) Accepted() moment { return moment{r.CreatedAt, r.Now} }

// Took returns how long the run took, or has taken until now.
func (r row) Took() string { return took(r.CreatedAt, r.EndedAt, r.Now) }

// The type `moment` is a time, and the time at which the page was made.
type moment struct{ At, Now time.Time }

// Ago returns a text with the time relative to the page.
func (m moment) Ago() string { return ago(m.At, m.Now) }

var runStates = []string{"stuck", "waiting", "running", "pending", "compensating", "compensated", "succeeded"}

func (c *console) runs(e echo.Context) error {
	p, _ := personOf(e)
	q := e.QueryParams()
	list := runList{
		Query: typedQuery(q.Get("q")), State: q.Get("state"), Workflow: q.Get("workflow"), States: append([]string{"attention"}, runStates...),
		Workflows: c.Workflows, Portal: p.Portal(),
	}
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx := e.Request().Context()
	params := client.ListRunsParams{Limit: new(runsOnPage)}
	switch {
	case list.State == "attention":
		params.Attention = new(true)
	case slices.Contains(runStates, list.State):
		params.State = &[]client.RunState{client.RunState(list.State)}
	default:
		list.State = ""
	}
	if slices.Contains(c.Workflows, list.Workflow) {
		params.Workflow = &list.Workflow
	} else {
		list.Workflow = ""
	}
	if marker := q.Get("marker"); marker != "" {
		params.Marker = &marker
		list.First = withoutMarker(e.Request().URL)
	}
	searches := []client.ListRunsParams{params}
	if list.Query != "" {
		if dashedID.MatchString(list.Query) { // the id of a run leads to its page
			found, err := api.GetRunWithResponse(ctx, list.Query, &client.GetRunParams{})
			if err == nil && found.JSON200 != nil {
				return e.Redirect(http.StatusSeeOther, runPath(found.JSON200.ID))
			}
		}
		searches, list.Nothing = c.searches(ctx, p, params, list.Query)
	}
	now := c.Now()
	if list.Nothing == "" {
		list.Nothing = "No run matches."
	}
	for _, search := range searches {
		answer, err := api.ListRunsWithResponse(ctx, &search)
		if err != nil {
			return err
		}
		page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
		if err != nil {
			return err
		}
		for _, r := range page.Runs {
			list.Runs = append(list.Runs, row{r, now})
		}
		if len(page.Runs) > 0 {
			list.Next, list.Found = nextPage(e.Request().URL, page.Links), foundBy(search)
			break
		}
	}
	if list.Query+list.State+list.Workflow == "" && params.Marker == nil {
		if err := list.addAttention(ctx, api, now); err != nil {
			return err
		}
		if len(list.Runs) == 0 {
			list.Nothing = "There are no runs yet."
		}
	}
	list.Live = liveAddress(list.Attention, list.Runs, params.Marker == nil)
	return c.show(e, http.StatusOK, "runs", "Runs", list)
}

// typedQuery returns the text in the search field, without spaces around it. An id becomes lower case, as Keystone, BillingStack and Tenantry write
// ids.
func typedQuery(text string) string {
	text = strings.TrimSpace(text)
	if lower := strings.ToLower(text); dashedID.MatchString(lower) || hexID.MatchString(lower) {
		return lower
	}
	return text
}

// addAttention adds the runs that need a person.
func (l *runList) addAttention(ctx context.Context, api *client.ClientWithResponses, now time.Time) error {
	answer, err := api.ListRunsWithResponse(ctx, &client.ListRunsParams{Attention: new(true), Limit: new(attentionOnPage)})
	if err != nil {
		return err
	}
	page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	for _, r := range page.Runs {
		l.Attention = append(l.Attention, row{r, now})
	}
	if slices.ContainsFunc(page.Links, func(link client.Link) bool { return link.Rel == "next" }) {
		l.More = Path + "/runs?state=attention"
	}
	return nil
}

var (
	dashedID   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	hexID      = regexp.MustCompile(`^[0-9a-f]{32}$`)
	tenantName = regexp.MustCompile(`^bs-(customer|subscription)-([0-9a-f-]{36})$`)
)

// The method `searches` returns the queries for the text in the search field. The text is the id of an object, a user or a merchant, the name of a
// tenant or a user, or an idempotency key. The first query with a result counts. If there is no query to make, `nothing` says why.
func (c *console) searches(
	ctx context.Context, p person, with client.ListRunsParams, typed string,
) (all []client.ListRunsParams, nothing string) {
	objects := func(kinds ...string) {
		for _, kind := range kinds {
			one := with
			one.Object = &[]string{kind + ":" + typed}
			all = append(all, one)
		}
	}
	user := func(id string) {
		one := with
		one.User = &id
		all = append(all, one)
	}
	switch match := tenantName.FindStringSubmatch(typed); {
	case match != nil:
		typed = match[2]
		objects(match[1])
		return all, ""
	case len(typed) > 255:
		return nil, "The search text is too long."
	}
	if dashedID.MatchString(typed) {
		if !p.Portal() {
			one := with
			one.Merchant = &typed
			all = append(all, one)
		}
		objects("subscription", "customer", "plan", "project", "user")
		user(typed)
		return all, ""
	}
	if hexID.MatchString(typed) {
		user(typed)
		objects("project", "user")
		return all, ""
	}
	if p.Portal() {
		return []client.ListRunsParams{{Limit: with.Limit, Merchant: &p.Merchant, IdempotencyKey: &typed}}, ""
	}
	id, err := c.userNamed(ctx, typed)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return nil, "Nothing has this id, and no user has this name."
	case errors.Is(err, errManyDomains):
		return nil, fmt.Sprintf("No user has this name in the first %d domains, and the other domains are not searched. Search by an id instead.", maxDomains)
	case errors.Is(err, errManySearches):
		return nil, "Too many people search for users at this moment. Try again, or search by an id."
	case err != nil:
		return nil, "Keystone could not be asked for a user of this name. Search by an id instead."
	}
	user(id)
	return all, ""
}

// The reasons for which a search by a user's name can have no result.
var (
	errManyDomains  = errors.New("there are too many domains")
	errManySearches = errors.New("there are too many searches")
)

// userNamed returns the id of the user with this name. It searches the domains of the merchants on the default cloud. If there are more than
// maxDomains domains, and the first ones have no such user, the error is errManyDomains.
func (c *console) userNamed(ctx context.Context, name string) (string, error) {
	select {
	case c.searching <- struct{}{}:
		defer func() { <-c.searching }()
	default:
		return "", errManySearches
	}
	identity, err := c.Identity(merchants.DefaultCloud)
	if err != nil {
		return "", err
	}
	settings, err := c.Merchants.Settings(ctx, maxSettings)
	if err != nil {
		return "", err
	}
	var names []string
	for _, m := range settings {
		if m.Cloud == merchants.DefaultCloud {
			names = append(names, cmp.Or(m.Domain, c.Domain))
		}
	}
	slices.Sort(names)
	names = slices.Compact(append([]string{c.Domain}, slices.DeleteFunc(names, func(name string) bool { return name == c.Domain })...))
	for _, nameOrID := range names[:min(len(names), maxDomains)] {
		id, err := userIn(ctx, identity, nameOrID, name)
		if !errors.Is(err, keystone.ErrNotFound) {
			return id, err
		}
	}
	if len(names) > maxDomains {
		return "", errManyDomains
	}
	return "", keystone.ErrNotFound
}

// userIn returns the id of the user with this name in a domain. If there is no such user or no such domain, the error is keystone.ErrNotFound.
func userIn(ctx context.Context, identity keystone.Identity, domainNameOrID, name string) (string, error) {
	domain, err := identity.Domain(ctx, domainNameOrID)
	if err != nil {
		return "", err
	}
	u, err := identity.FindUser(ctx, domain.ID, name)
	return u.ID, err
}

const (
	// maxDomains is the maximum number of domains in which a user is searched by name.
	maxDomains = 10
	// maxSettings is the maximum number of merchants' settings that are read for the names of the domains.
	maxSettings = 1000
	// maxSearches is the maximum number of searches by a user's name at the same time. Each asks Keystone several times.
	maxSearches = 4
)

func runPath(id string) string { return Path + "/runs/" + url.PathEscape(id) }

// nextPage returns the address of the next page, if the API's links have one.
func nextPage(here *url.URL, links client.Links) string {
	for _, link := range links {
		if link.Rel != "next" {
			continue
		}
		next, err := url.Parse(link.Href)
		if err != nil {
			return ""
		}
		query := here.Query()
		query.Set("marker", next.Query().Get("marker"))
		return here.Path + "?" + query.Encode()
	}
	return ""
}

func withoutMarker(here *url.URL) string {
	query := here.Query()
	query.Del("marker")
	if len(query) == 0 {
		return here.Path
	}
	return here.Path + "?" + query.Encode()
}
