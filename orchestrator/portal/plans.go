package portal

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// A page shows texts and lists that the merchant has stored, so the size of the page is limited: see viewPlan.
const (
	maxPlans = 100
	maxItems = 20  // of a plan
	maxText  = 300 // characters of a title or a description
)

// The type `plan` is a plan as visitors see it.
type plan struct {
	ID, Title, Description string
	Items                  []item
	More                   int // the number of items that are not in Items
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

const (
	plansKept = 5 * time.Second  // for which the plans are not read again
	plansTime = 15 * time.Second // the time limit for reading the plans
)

// The type `catalog` keeps the plans for a short time, so that many visitors cost the API one call.
type catalog struct {
	reading singleflight.Group
	mu      sync.Mutex // locks the other fields
	plans   []plan
	until   time.Time
}

// allPlans returns the plans of the merchant, as they were up to plansKept ago. The caller must not change the list.
func (p *portal) allPlans(ctx context.Context) ([]plan, error) {
	c := &p.catalog
	c.mu.Lock()
	kept, fresh := c.plans, p.Now().Before(c.until)
	c.mu.Unlock()
	if fresh {
		return kept, nil
	}
	answer := c.reading.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), plansTime) // other visitors wait for it, too
		defer cancel()
		all, err := p.readPlans(ctx)
		if err == nil {
			c.mu.Lock()
			c.plans, c.until = all, p.Now().Add(plansKept)
			c.mu.Unlock()
		}
		return all, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case found := <-answer:
		all, _ := found.Val.([]plan)
		return all, found.Err
	}
}

func (p *portal) readPlans(ctx context.Context) (all []plan, err error) {
	found, err := readAll(maxPlans, func(marker *string) ([]client.Plan, client.Links, error) {
		list, _, err := read[client.PlanList](p.api.ListPlans(ctx, p.Merchant, &client.ListPlansParams{Limit: new(pageSize), Marker: marker}))
		return list.Plans, list.Links, err
	}, func(p client.Plan) string { return p.ID })
	for _, p := range found {
		all = append(all, viewPlan(p))
	}
	return all, err
}

// The function `find` returns the plan with an id; nil if the merchant no longer sells the plan.
func find(all []plan, id string) *plan {
	for i := range all {
		if all[i].ID == id {
			return &all[i]
		}
	}
	return nil
}

func viewPlan(found client.Plan) plan {
	made := plan{ID: found.ID, Title: short(cmp.Or(value(found.Title), found.Name)), Description: short(value(found.Description))}
	for _, i := range found.Items[:min(len(found.Items), maxItems)] {
		made.Items = append(made.Items, item{
			Title: short(cmp.Or(value(i.Title), value(i.Name), "Item")), Description: short(value(i.Description)), Price: short(price(value(i.Pricing))),
		})
	}
	made.More = len(found.Items) - len(made.Items)
	return made
}

// The function `short` cuts a text after maxText characters.
func short(text string) string {
	if all := []rune(text); len(all) > maxText {
		return string(all[:maxText]) + "…"
	}
	return text
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
