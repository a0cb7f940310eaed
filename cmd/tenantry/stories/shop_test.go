package stories_test

import (
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
)

// The type `shop` is one of several merchants of a site.
type shop struct{ id, name, plan, key, secret string }

// newShop creates a merchant with a plan and an API key.
func (s *site) newShop(name string) shop {
	s.t.Helper()
	m, err := s.billing.CreateMerchant(s.t.Context(), billing.Merchant{ID: uuid.NewString(), Name: name, Currency: "eur", Language: "eng"})
	s.ok(err)
	plan, err := s.billing.CreatePlan(s.t.Context(), m.ID, billing.Plan{ID: uuid.NewString(), Name: "plan of " + name})
	s.ok(err)
	var made struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	s.unmarshal(s.run("merchant", "create", m.ID, "--name", name, "-f", "json"), &made)
	return shop{m.ID, name, plan.ID, made.APIKey, made.APISecret}
}
