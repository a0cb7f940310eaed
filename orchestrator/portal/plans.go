package portal

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `plan` is a plan as visitors see it.
type plan struct {
	ID, Title, Description string
	Items                  []item
}

// The type `item` is a product in a plan. Its price is for one unit, and empty if it is not a fixed price.
type item struct{ Title, Description, Price string }

// The method `plans` shows all plans with their items and prices.
func (p *portal) plans(w http.ResponseWriter, r *http.Request) error {
	all, err := p.allPlans(r.Context())
	if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, "plans", "Plans", all)
}

// allPlans reads the plans of the merchant.
func (p *portal) allPlans(ctx context.Context) (all []plan, err error) {
	found, err := readAll(func(marker *string) ([]client.Plan, client.Links, error) {
		list, _, err := read[client.PlanList](p.api.ListPlans(ctx, p.Merchant, &client.ListPlansParams{Limit: new(pageSize), Marker: marker}))
		return list.Plans, list.Links, err
	}, func(p client.Plan) string { return p.ID })
	for _, p := range found {
		all = append(all, viewPlan(p))
	}
	return all, err
}

// The function `find` returns the plan with an id; nil if the merchant does not sell it any more.
func find(all []plan, id string) *plan {
	for i := range all {
		if all[i].ID == id {
			return &all[i]
		}
	}
	return nil
}

func viewPlan(found client.Plan) plan {
	made := plan{ID: found.ID, Title: cmp.Or(value(found.Title), found.Name), Description: value(found.Description)}
	for _, i := range found.Items {
		made.Items = append(made.Items, item{
			Title: cmp.Or(value(i.Title), value(i.Name), "Item"), Description: value(i.Description), Price: price(value(i.Pricing)),
		})
	}
	return made
}

// The function `price` returns the fixed price in a pricing; empty if there is none. A merchant may have stored the price as a number or as a text.
func price(pricing []any) string {
	if len(pricing) != 1 {
		return ""
	}
	entry, ok := pricing[0].(map[string]any)
	if !ok || entry["type"] != "fixed" {
		return ""
	}
	switch amount := entry["price"].(type) {
	case float64:
		return strconv.FormatFloat(amount, 'f', -1, 64)
	case string:
		return amount
	}
	return ""
}
