package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// findingsOnPage is the number of findings on a page. A repair plan can be made from all findings of a page.
const findingsOnPage = 100

// merchantsInFilter is the number of merchants whose names the pages know.
const merchantsInFilter = 200

const findingsPath = Path + "/findings"

// The type `findingFilter` is the filter of the list of findings, as it was typed.
type findingFilter struct{ Query, Status, Severity, Code, Merchant, Audit string }

func findingFilterOf(typed url.Values) findingFilter {
	f := findingFilter{
		Query: typedQuery(typed.Get("q")), Status: typed.Get("status"), Severity: typed.Get("severity"), Code: typed.Get("code"),
		Merchant: strings.TrimSpace(typed.Get("merchant")), Audit: typed.Get("audit"),
	}
	if !slices.Contains(findingStates, f.Status) {
		f.Status = ""
	}
	if !slices.Contains(severities, client.Severity(f.Severity)) {
		f.Severity = ""
	}
	if !findingCode.MatchString(f.Code) {
		f.Code = ""
	}
	if !dashedID.MatchString(f.Audit) {
		f.Audit = ""
	}
	return f
}

// severities are all severities, most severe first.
var severities = []client.Severity{client.SeverityCritical, client.SeverityHigh, client.SeverityMedium, client.SeverityLow, client.SeverityInfo}

var findingCode = regexp.MustCompile(`^[a-z][a-z-]{0,63}$`)

// The states by which findings can be filtered, besides the open findings: see findingFilter.statuses.
var findingStates = []string{"new", "known", "accepted", "resolved", "any"}

// statuses returns the states of the wanted findings. Without a choice, these are the open findings.
func (f findingFilter) statuses() *[]client.FindingStatus {
	switch f.Status {
	case "":
		return nil
	case "any":
		return &[]client.FindingStatus{client.FindingNew, client.FindingKnown, client.FindingAccepted, client.FindingResolved}
	}
	return &[]client.FindingStatus{client.FindingStatus(f.Status)}
}

// Open reports whether the filter selects open findings only. A plan contains only open findings.
func (f findingFilter) Open() bool { return f.Status == "" }

// Empty reports whether the filter selects all open findings.
func (f findingFilter) Empty() bool { return f == findingFilter{} }

// The method `address` returns the address of the list with this filter.
func (f findingFilter) address() string {
	query := url.Values{}
	for name, value := range map[string]string{
		"q": f.Query, "status": f.Status, "severity": f.Severity, "code": f.Code, "merchant": f.Merchant, "audit": f.Audit,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return findingsPath
	}
	return findingsPath + "?" + query.Encode()
}

// The type `findingList` is the content of the page with findings.
type findingList struct {
	Filter     findingFilter
	Statuses   []string
	Severities []client.Severity
	Codes      []string
	Merchants  []client.Merchant
	Overview   []severityCount
	Findings   []findingRow
	Repairable int             // how many findings of the page have a repair
	By         string          // the field of the API with which the search has found findings; empty without a search
	Chosen     map[string]bool // the findings that were ticked before a refusal
	Nothing    string          // why the list is empty
	Next       string          // the address of the next page
	First      string          // the address of the first page; empty on the first page
	Fault      string
}

// The type `severityCount` has the numbers of findings of one severity.
type severityCount struct {
	Severity string
	Codes    []codeCount
}

type codeCount struct {
	Code           string
	Open, Accepted int
	Address        string // the list of these findings
	Chosen         bool   // the list has only these findings
}

// The type `findingRow` is a finding in a list.
type findingRow struct {
	client.Finding

	Merchant string // the name of the merchant, if it is known
	Chosen   bool
	Now      time.Time
}

// Since returns the time at which the finding was first seen.
func (r findingRow) Since() moment { return moment{r.FirstSeen, r.Now} }

// Object returns the first object of the finding.
func (r findingRow) Object() *client.FindingObject {
	if len(r.Objects) == 0 {
		return nil
	}
	return &r.Objects[0]
}

// Choosable reports whether a plan can have the finding.
func (r findingRow) Choosable() bool { return repairable(r.Finding) }

func repairable(f client.Finding) bool {
	return f.Repair.Action != nil && (f.Status == client.FindingNew || f.Status == client.FindingKnown)
}

func (c *console) findings(e echo.Context) error {
	return c.showFindings(e, http.StatusOK, e.QueryParams(), "")
}

// showFindings answers with the list of findings. The parameters are the filter that the person has typed, and the reason why a plan was refused.
func (c *console) showFindings(e echo.Context, status int, typed url.Values, fault string) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	ctx, f := e.Request().Context(), findingFilterOf(typed)
	if fault == "" && dashedID.MatchString(f.Query) { // the id of a finding leads to its page
		found, err := api.GetFindingWithResponse(ctx, f.Query)
		if err == nil && found.JSON200 != nil {
			return e.Redirect(http.StatusSeeOther, findingPath(found.JSON200.ID))
		}
	}
	list := findingList{Filter: f, Statuses: findingStates, Severities: severities, Chosen: map[string]bool{}, Fault: fault}
	for _, id := range typed["finding"] {
		list.Chosen[id] = true
	}
	if list.Merchants, err = c.merchantsOf(ctx, api); err != nil {
		return err
	}
	merchant := merchantNamed(list.Merchants, f.Merchant)
	if merchant != "" && !dashedID.MatchString(merchant) {
		list.Nothing = "There is no merchant with this name or id."
		return c.show(e, status, "findings", "Findings", list)
	}
	if err := list.addOverview(ctx, api, merchant); err != nil {
		return err
	}
	with := client.ListFindingsParams{
		Status: f.statuses(), Severity: optional(client.Severity(f.Severity)), MerchantID: optional(merchant), AuditID: optional(f.Audit),
		Limit: new(findingsOnPage), Marker: optional(typed.Get("marker")),
	}
	if f.Code != "" {
		with.Code = &[]string{f.Code}
	}
	searches := []findingSearch{{ListFindingsParams: with}}
	if f.Query != "" {
		searches, list.Nothing = c.findingSearches(ctx, with, f.Query)
	}
	if err := list.search(ctx, api, searches, c.Now()); err != nil {
		return err
	}
	if with.Marker != nil {
		list.First = f.address()
	}
	list.addCodes()
	return c.show(e, status, "findings", "Findings", list)
}

// The method `search` makes the searches one after another, until a search returns findings. The list then has these findings.
func (l *findingList) search(ctx context.Context, api *client.ClientWithResponses, searches []findingSearch, now time.Time) error {
	l.Nothing = cmp.Or(l.Nothing, "No finding matches.")
	if l.Filter.Empty() {
		l.Nothing = "There are no open findings. Start an audit to look for differences."
	}
	here, err := url.Parse(l.Filter.address())
	if err != nil {
		return err
	}
	for _, one := range searches {
		answer, err := api.ListFindingsWithResponse(ctx, &one.ListFindingsParams)
		if err != nil {
			return err
		}
		page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
		if err != nil {
			return err
		}
		if len(page.Findings) == 0 {
			continue
		}
		for _, found := range page.Findings {
			r := findingRow{Finding: found, Merchant: nameOfMerchant(l.Merchants, found.MerchantID), Chosen: l.Chosen[found.ID], Now: now}
			if r.Choosable() {
				l.Repairable++
			}
			l.Findings = append(l.Findings, r)
		}
		l.By, l.Next = one.by, nextPage(here, page.Links)
		break
	}
	slices.SortStableFunc(l.Findings, func(a, b findingRow) int {
		return cmp.Or(severityIndex(a.Severity)-severityIndex(b.Severity), cmp.Compare(a.Code, b.Code))
	})
	return nil
}

func severityIndex(s client.Severity) int { return slices.Index(severities, s) }

// addOverview adds the numbers of the findings by severity and code.
func (l *findingList) addOverview(ctx context.Context, api *client.ClientWithResponses, merchant string) error {
	answer, err := api.CountFindingsWithResponse(ctx, &client.CountFindingsParams{MerchantID: optional(merchant)})
	if err != nil {
		return err
	}
	counts, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	for _, n := range counts.Counts {
		severity, code := string(n.Severity), n.Code
		if len(l.Overview) == 0 || l.Overview[len(l.Overview)-1].Severity != severity {
			l.Overview = append(l.Overview, severityCount{Severity: severity})
		}
		of := &l.Overview[len(l.Overview)-1]
		if len(of.Codes) == 0 || of.Codes[len(of.Codes)-1].Code != code {
			address := findingFilter{Code: code, Severity: severity, Merchant: l.Filter.Merchant}.address()
			of.Codes = append(of.Codes, codeCount{Code: code, Address: address, Chosen: code == l.Filter.Code})
		}
		one := &of.Codes[len(of.Codes)-1]
		if n.Status == client.FindingAccepted {
			one.Accepted += n.Count
		} else {
			one.Open += n.Count
		}
	}
	return nil
}

// addCodes adds the codes for the filter: the codes of findings that are not resolved, the codes in the list, and the chosen code.
func (l *findingList) addCodes() {
	for _, of := range l.Overview {
		for _, one := range of.Codes {
			l.Codes = append(l.Codes, one.Code)
		}
	}
	for _, r := range l.Findings {
		l.Codes = append(l.Codes, r.Code)
	}
	if l.Filter.Code != "" {
		l.Codes = append(l.Codes, l.Filter.Code)
	}
	slices.Sort(l.Codes)
	l.Codes = slices.Compact(l.Codes)
}

// The type `findingSearch` is a query for the text in the search field. The field `by` names the field of the API that has the typed id.
type findingSearch struct {
	client.ListFindingsParams

	by string
}

// findingSearches returns the queries for the text in the search field. The text can be the id of an object, the name of a tenant or the name of
// a user. The first query with a result counts. If there is no query to make, `nothing` says why.
func (c *console) findingSearches(ctx context.Context, with client.ListFindingsParams, typed string) (all []findingSearch, nothing string) {
	add := func(id string, fields ...string) {
		for _, by := range fields {
			one := findingSearch{with, by}
			*one.field() = &id
			all = append(all, one)
		}
	}
	if match := tenantName.FindStringSubmatch(typed); match != nil {
		add(match[2], match[1]+"_id")
		return all, ""
	}
	switch {
	case len(typed) > 255:
		return nil, "The search text is too long."
	case dashedID.MatchString(typed):
		add(typed, "subscription_id", "customer_id", "project_id", "user_id", "merchant_id", "audit_id")
		return all, ""
	case hexID.MatchString(typed):
		add(typed, "project_id", "user_id")
		return all, ""
	}
	if project, rest, ok := strings.Cut(typed, "/"); ok { // the id of a role assignment
		user, _, _ := strings.Cut(rest, "/")
		one := findingSearch{with, ""}
		one.ProjectID, one.UserID = optional(project), optional(user)
		return []findingSearch{one}, ""
	}
	id, err := c.userNamed(ctx, typed)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return nil, "Nothing has this id, and no user has this name."
	case err != nil:
		return nil, "Keystone could not be asked for a user of this name. Search by an id instead."
	}
	add(id, "user_id")
	return all, ""
}

// The method `field` returns the parameter that the field `by` names.
func (s *findingSearch) field() **string {
	return map[string]**string{
		"subscription_id": &s.SubscriptionID, "customer_id": &s.CustomerID, "project_id": &s.ProjectID, "user_id": &s.UserID,
		"merchant_id": &s.MerchantID, "audit_id": &s.AuditID,
	}[s.by]
}

// merchantsOf returns the first merchants.
func (c *console) merchantsOf(ctx context.Context, api *client.ClientWithResponses) ([]client.Merchant, error) {
	answer, err := api.ListMerchantsWithResponse(ctx, &client.ListMerchantsParams{Limit: new(merchantsInFilter)})
	if err != nil {
		return nil, err
	}
	page, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return nil, err
	}
	return page.Merchants, nil
}

// merchantNamed returns the id of the merchant with this name or id. If there is none, the result is the text in the search field.
func merchantNamed(all []client.Merchant, typed string) string {
	for _, m := range all {
		if m.Name == typed {
			return m.MerchantID
		}
	}
	return strings.ToLower(typed)
}

// nameOfMerchant returns the name of a merchant. If the name is not known, the result is empty.
func nameOfMerchant(all []client.Merchant, id *string) string {
	i := slices.IndexFunc(all, func(m client.Merchant) bool { return id != nil && m.MerchantID == *id })
	if i < 0 {
		return ""
	}
	return all[i].Name
}

// The function `optional` returns a pointer to the value, or nil if the value is empty.
func optional[T ~string](v T) *T {
	if v == "" {
		return nil
	}
	return &v
}

func findingPath(id string) string { return findingsPath + "/" + url.PathEscape(id) }
