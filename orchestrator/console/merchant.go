package console

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `merchantPage` is the content of the page of a merchant.
type merchantPage struct {
	merchantRow

	Portal   bool // for the merchant itself
	Keys     []key
	MoreKeys bool   // the merchant has more keys, which the page does not show
	Seen     string // identifies the settings that the page shows
	Form     merchantForm
	Editing  bool   // the form is open
	Done     string // the result of the last action, as a text
	Fault    string // why the last action was refused
}

// The type `merchantForm` has the settings that a person has typed.
type merchantForm struct {
	Name, Cloud, Domain, CustomerRoles, SubscriptionRoles, OnFailure, MaxLiveRuns string
	AdoptUnmarked, SignUp                                                         bool
}

// The type `key` is an API key in the list of keys.
type key struct {
	client.APIKey

	Now time.Time
}

// Created returns the time at which the key was created.
func (k key) Created() moment { return moment{k.CreatedAt, k.Now} }

// Validity returns "valid" if the API accepts the key, and otherwise "revoked".
func (k key) Validity() string {
	if k.RevokedAt != nil {
		return "revoked"
	}
	return "valid"
}

// Newest returns the newest key, or an empty text if there is none.
func (m merchantPage) Newest() string {
	if len(m.Keys) == 0 {
		return ""
	}
	return m.Keys[0].APIKey.APIKey
}

// Revocable returns the keys that a rotation revokes.
func (m merchantPage) Revocable() (keys []string) {
	for _, k := range m.Keys[min(1, len(m.Keys)):] {
		if k.RevokedAt == nil {
			keys = append(keys, k.APIKey.APIKey)
		}
	}
	return keys
}

// The texts that the page shows after each action.
var merchantDone = map[string]string{
	"change":  "The settings were stored. New orders use them; runs that were accepted before keep the old ones.",
	"disable": "The merchant is disabled: the API refuses the calls of its portal. Runs in progress continue.",
	"enable":  "The merchant is enabled: the API accepts the calls of its portal.",
}

func (c *console) merchant(e echo.Context) error {
	page, err := c.merchantPage(e)
	if err != nil {
		return err
	}
	page.Done = merchantDone[e.QueryParam("done")]
	return c.show(e, http.StatusOK, "merchant", page.Name, page)
}

// The method `merchantPage` reads a merchant and, for an operator, its keys.
func (c *console) merchantPage(e echo.Context) (page merchantPage, err error) {
	api, err := c.asPerson(e)
	if err != nil {
		return page, err
	}
	answer, err := api.GetMerchantWithResponse(e.Request().Context(), e.Param("id"))
	if err != nil {
		return page, err
	}
	m, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return page, err
	}
	p, _ := personOf(e)
	page = merchantPage{merchantRow: merchantRow{*m, c.Now()}, Portal: p.Portal(), Seen: settingsSeen(*m), Form: formOf(*m)}
	if page.Portal {
		return page, nil
	}
	page.Keys, page.MoreKeys, err = keysOf(e, api, m.MerchantID, c.Now())
	return page, err
}

// keyPages is the maximum number of pages of keys that are read. keysOnPage is the number of keys on such a page.
const keyPages, keysOnPage = 5, 200

// keysOf reads the keys of a merchant, and returns them with the newest first.
func keysOf(e echo.Context, api *client.ClientWithResponses, id string, now time.Time) (keys []key, more bool, err error) {
	params := client.ListKeysParams{Limit: new(keysOnPage)}
	for range keyPages {
		answer, err := api.ListKeysWithResponse(e.Request().Context(), id, &params)
		if err != nil {
			return nil, false, err
		}
		page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
		if err != nil {
			return nil, false, err
		}
		for _, k := range page.Keys {
			keys = append(keys, key{k, now})
		}
		if more = slices.ContainsFunc(page.Links, func(link client.Link) bool { return link.Rel == "next" }); !more {
			break
		}
		params.Marker = &keys[len(keys)-1].APIKey.APIKey
	}
	slices.Reverse(keys)
	return keys, more, nil
}

// settingsSeen returns a text that changes when a setting of the merchant changes.
func settingsSeen(m client.Merchant) string {
	m.LiveRuns, m.DisabledAt, m.InForce = nil, nil, nil
	text, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func formOf(m client.Merchant) merchantForm {
	f := merchantForm{
		Name: m.Name, Cloud: m.Cloud, Domain: m.Domain, CustomerRoles: strings.Join(m.CustomerRoles, ", "),
		SubscriptionRoles: strings.Join(m.SubscriptionRoles, ", "), OnFailure: string(m.OnFailure), AdoptUnmarked: m.AdoptUnmarked, SignUp: m.SignUp,
	}
	if m.MaxLiveRuns != 0 {
		f.MaxLiveRuns = strconv.Itoa(m.MaxLiveRuns)
	}
	return f
}

// changeMerchant changes the settings of a merchant to the settings in the form. A form that was made before another change is refused.
func (c *console) changeMerchant(e echo.Context) error {
	page, err := c.merchantPage(e)
	if err != nil {
		return err
	}
	typed := func(name string) string { return strings.TrimSpace(e.FormValue(name)) }
	page.Form = merchantForm{
		Name: typed("name"), Cloud: typed("cloud"), Domain: typed("domain"), CustomerRoles: typed("customer_roles"),
		SubscriptionRoles: typed("subscription_roles"), OnFailure: typed("on_failure"), MaxLiveRuns: typed("max_live_runs"),
		AdoptUnmarked: e.FormValue("adopt_unmarked") != "", SignUp: e.FormValue("sign_up") != "",
	}
	page.Editing = true
	refuse := func(status int, fault string) error {
		page.Fault = fault
		return c.show(e, status, "merchant", page.Name, page)
	}
	if e.FormValue("seen") != page.Seen {
		return refuse(http.StatusConflict, "Somebody has changed the settings since you opened the form. The form below contains your values."+
			" Compare them with the settings above, and save again.")
	}
	limit := 0
	if text := page.Form.MaxLiveRuns; text != "" {
		if limit, err = strconv.Atoi(text); err != nil {
			return refuse(http.StatusUnprocessableEntity, "The maximum of runs in progress is not a number.")
		}
	}
	return c.updateMerchant(e, page, "change", client.MerchantUpdate{
		Name: &page.Form.Name, Cloud: &page.Form.Cloud, Domain: &page.Form.Domain, CustomerRoles: rolesOf(page.Form.CustomerRoles),
		SubscriptionRoles: rolesOf(page.Form.SubscriptionRoles), OnFailure: (*client.OnFailure)(&page.Form.OnFailure),
		AdoptUnmarked: &page.Form.AdoptUnmarked, SignUp: &page.Form.SignUp, MaxLiveRuns: &limit,
	})
}

// rolesOf returns the roles in a list with commas.
func rolesOf(text string) *client.Roles {
	roles := client.Roles{}
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			roles = append(roles, name)
		}
	}
	return &roles
}

func (c *console) disableMerchant(e echo.Context) error { return c.switchMerchant(e, "disable") }

func (c *console) enableMerchant(e echo.Context) error { return c.switchMerchant(e, "enable") }

func (c *console) switchMerchant(e echo.Context, action string) error {
	page, err := c.merchantPage(e)
	if err != nil {
		return err
	}
	return c.updateMerchant(e, page, action, client.MerchantUpdate{Disabled: new(action == "disable")})
}

// updateMerchant changes a merchant, and shows its page again.
func (c *console) updateMerchant(e echo.Context, page merchantPage, action string, change client.MerchantUpdate) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	answer, err := api.UpdateMerchantWithResponse(e.Request().Context(), page.MerchantID, change)
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	if answer.JSON200 != nil {
		return e.Redirect(http.StatusSeeOther, merchantPath(page.MerchantID)+"?done="+url.QueryEscape(action))
	}
	err = refusal(answer.HTTPResponse, answer.Body)
	if p, ok := err.(*problem); ok && p.status != http.StatusUnauthorized && p.status != http.StatusNotFound { //nolint:errorlint // refusal does not wrap
		page.Fault = refusedField(answer.Body) + p.detail
		return c.show(e, p.status, "merchant", page.Name, page)
	}
	return err
}

// refusedField returns the name of the setting that a problem of the API is about, with a colon.
func refusedField(body []byte) string {
	var p struct {
		InvalidParams []struct{ Pointer string } `json:"invalid_params"`
	}
	if json.Unmarshal(body, &p) != nil || len(p.InvalidParams) == 0 {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(p.InvalidParams[0].Pointer, "/"), "/")
	if label := settingLabels[name]; label != "" {
		return label + ": "
	}
	return ""
}

// The labels of the form's fields.
var settingLabels = map[string]string{
	"name": "Name", "cloud": "Cloud", "domain": "Domain", "customer_roles": "Roles on the customer tenant",
	"subscription_roles": "Roles on the subscription tenant", "on_failure": "If a run fails", "max_live_runs": "Runs in progress",
}

// The type `newKey` is the content of the page that shows the secret of a new key.
type newKey struct {
	client.APIKeyCreated

	Merchant string // the name of the merchant
}

// rotateKey creates a key, and answers with the page that shows its secret. Only this answer has the secret. The form names the newest key that its
// page has shown. A browser that sends the form again therefore creates no second key.
func (c *console) rotateKey(e echo.Context) error {
	page, err := c.merchantPage(e)
	if err != nil {
		return err
	}
	if page.Portal {
		return &problem{status: http.StatusForbidden, title: "Only operators create keys", detail: "Ask an operator of Tenantry for a new key."}
	}
	if e.FormValue("newest") != page.Newest() {
		page.Fault = "A key was created since you opened this page. If you have sent the form twice, only the first answer had the secret of the new" +
			" key. If the secret is lost, create another key."
		return c.show(e, http.StatusConflict, "merchant", page.Name, page)
	}
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	answer, err := api.RotateKeyWithResponse(e.Request().Context(), page.MerchantID)
	if err != nil {
		return err
	}
	made, err := answered(answer.JSON201, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	return c.show(e, http.StatusOK, "merchant-key", "New key of "+page.Name, newKey{*made, page.Name})
}
