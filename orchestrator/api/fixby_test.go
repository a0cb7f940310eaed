package api

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// fixedElsewhere lists the problems that no call of the operation can fix: an operator fixes them in the service, in the settings
// or in an upstream.
var fixedElsewhere = []string{
	"merchant-disabled", "user-id-unusable", "run-compensated", "internal-error", "upstream-unavailable", "configuration-fault",
	"sign-up-off",
}

// TestFixByNamesNobodyWhomTheOperationRefuses checks each problem of each operation, for each kind of caller.
func TestFixByNamesNobodyWhomTheOperationRefuses(t *testing.T) {
	document := must(loadDocument("test"))
	byName := map[string]kind{}
	for _, k := range kinds() {
		byName[k.name] = k
	}
	seen := map[string]bool{}
	for id, o := range document.operations {
		for _, response := range o.Responses.Map() {
			for _, name := range problemsOf(response.Value) {
				for who, c := range callersOf(o) {
					seen[name] = true
					fixBy := *refuse(byName[name], "").body("", fixer(c)).FixBy
					ofUser := o.parameters.GetByInAndName("header", headerSubjectToken) != nil ||
						o.RequestBody != nil && o.body().Properties["password"] != nil
					ok := map[FixBy]bool{
						FixByNobody:   byName[name].retryable,
						FixByMerchant: o.accepts(portalScheme) || o.open(),
						FixByOperator: o.accepts(operatorScheme) || o.accepts(meterScheme) || o.open() || slices.Contains(fixedElsewhere, name),
						FixByUser:     ofUser,

						FixByAdministrator: slices.Contains(fixedElsewhere, name),
					}[fixBy]
					if !ok {
						t.Errorf("operation %s, problem %s, sent by %s: fix_by names %s, but the operation refuses this person", id, name, who, fixBy)
					}
				}
			}
		}
	}
	for name := range byName {
		if !seen[name] && name != methodNotAllowed.name {
			t.Errorf("no operation has the problem %s", name)
		}
	}
}

// callersOf returns one request for each kind of caller, by the name of the kind. The operation may answer each of these requests with a
// problem.
func callersOf(o operation) map[string]echo.Context {
	all := map[string]echo.Context{}
	for who, h := range map[string]http.Header{
		"nobody": {}, "an unknown portal": {"Authorization": {"Basic eDp5"}}, "an unknown operator": {headerAuthToken: {"x"}},
	} {
		all[who] = contextOf(o, h)
	}
	if o.accepts(portalScheme) {
		all["a portal"] = contextOf(o, http.Header{"Authorization": {"Basic eDp5"}})
		all["a portal"].Set(contextCaller, caller{merchant: &merchants.Merchant{}})
	}
	if o.accepts(operatorScheme) {
		all["an operator"] = contextOf(o, http.Header{headerAuthToken: {"x"}})
		all["an operator"].Set(contextCaller, caller{})
	}
	return all
}

func contextOf(o operation, h http.Header) echo.Context {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	maps.Copy(r.Header, h)
	c := echo.New().NewContext(r, httptest.NewRecorder())
	c.Set(contextOperation, o)
	return c
}
