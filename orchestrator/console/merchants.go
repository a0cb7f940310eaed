package console

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// merchantsOnPage is the number of merchants on a page.
const merchantsOnPage = 50

// The type `merchantList` is the content of the page with merchants.
type merchantList struct {
	Query     string // what was typed
	Merchants []merchantRow
	Next      string // the address of the next page
	First     string // the address of the first page; empty on the first page
}

// The type `merchantRow` is a merchant in a list, or on its page.
type merchantRow struct {
	client.Merchant

	Now time.Time
}

// Created returns the time at which the merchant was registered.
func (m merchantRow) Created() moment { return moment{m.CreatedAt, m.Now} }

// Access returns "enabled" if the API accepts the calls of the merchant's portal, and otherwise "disabled".
func (m merchantRow) Access() string {
	if m.DisabledAt != nil {
		return "disabled"
	}
	return "enabled"
}

func (c *console) merchants(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx, q := e.Request().Context(), e.QueryParams()
	list := merchantList{Query: typedQuery(q.Get("q"))}
	params := client.ListMerchantsParams{Limit: new(merchantsOnPage)}
	if dashedID.MatchString(list.Query) { // the id of a merchant leads to its page
		found, err := api.GetMerchantWithResponse(ctx, list.Query)
		if err == nil && found.JSON200 != nil {
			return e.Redirect(http.StatusSeeOther, merchantPath(found.JSON200.MerchantID))
		}
	}
	if list.Query != "" {
		params.Name = &list.Query
	}
	if marker := q.Get("marker"); marker != "" {
		params.Marker = &marker
		list.First = withoutMarker(e.Request().URL)
	}
	answer, err := api.ListMerchantsWithResponse(ctx, &params)
	if err != nil {
		return err
	}
	page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	for _, m := range page.Merchants {
		list.Merchants = append(list.Merchants, merchantRow{m, c.Now()})
	}
	list.Next = nextPage(e.Request().URL, page.Links)
	return c.show(e, http.StatusOK, "merchants", "Merchants", list)
}

func merchantPath(id string) string { return Path + "/merchants/" + url.PathEscape(id) }

// The type `value` is a value of a merchant's setting.
type value struct {
	Name, Text string
	Source     string // where the value comes from
}

const (
	ownValue     = "own"
	defaultValue = "configured default"
)

// Values returns the settings as new orders use them.
func (m merchantRow) Values() []value {
	force := client.InForce{Domain: m.Domain, CustomerRoles: m.CustomerRoles, SubscriptionRoles: m.SubscriptionRoles, MaxLiveRuns: m.MaxLiveRuns}
	if m.InForce != nil {
		force = *m.InForce
	}
	source := func(own bool) string {
		if own {
			return ownValue
		}
		return defaultValue
	}
	return []value{
		{"Cloud", m.Cloud, source(m.Cloud != "default")},
		{"Domain", force.Domain, source(m.Domain != "")},
		{"Roles on the customer tenant", strings.Join(force.CustomerRoles, ", "), source(len(m.CustomerRoles) > 0)},
		{"Roles on the subscription tenant", strings.Join(force.SubscriptionRoles, ", "), source(len(m.SubscriptionRoles) > 0)},
		{"If a run fails", onFailureTexts[string(m.OnFailure)], ownValue},
		{"Sign-up by the portal", yesOrNo(m.SignUp), ownValue},
		{"Tenants without Tenantry's tags", map[bool]string{true: "may be used", false: "are refused"}[m.AdoptUnmarked], ownValue},
		{"Runs in progress", "at most " + plainOf(force.MaxLiveRuns), source(m.MaxLiveRuns != 0)},
	}
}

var onFailureTexts = map[string]string{"compensate": "its steps are undone", "hold": "it waits for an operator"}

func yesOrNo(yes bool) string {
	if yes {
		return "allowed"
	}
	return "not allowed"
}

// Limit returns the maximum number of the merchant's runs in progress.
func (m merchantRow) Limit() int {
	if m.InForce == nil {
		return m.MaxLiveRuns
	}
	return cmp.Or(m.MaxLiveRuns, m.InForce.MaxLiveRuns)
}

// Used returns the share of the limit that the runs in progress use, in thousandths.
func (m merchantRow) Used() int {
	if m.LiveRuns == nil || m.Limit() == 0 {
		return 0
	}
	return min(1000, 1000**m.LiveRuns/m.Limit())
}

// Fullness returns the CSS class of the bar that shows Used.
func (m merchantRow) Fullness() string {
	switch used := m.Used(); {
	case used >= 1000:
		return "bad"
	case used >= 800:
		return "wait"
	}
	return "busy"
}
