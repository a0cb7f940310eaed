package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// The type `seller` is a merchant and its existing customers.
type seller struct {
	id, plan    string
	plans       []string // the plans that subscriptions can change to; the first element equals the field `plan`
	key, secret string
	customers   []oldCustomer
}

type oldCustomer struct {
	id, user string
	bare     bool // the customer's tenant does not exist
}

// The method `furnish` creates two merchants. Each merchant has plans, a customer with a tenant, and a customer without a tenant.
func (w *world) furnish() {
	var err error
	w.direct, err = billing.New(billing.Config{URL: "http://billing/v2", Wrap: func(http.RoundTripper) http.RoundTripper {
		return inProcess{w.billing}
	}})
	w.ok(err)
	if w.plan.Second {
		w.cloud.AddRole("member")
	}
	w.cloud.AddRole("bs-admin")
	for _, name := range customerRoles {
		role, err := w.cloud.Role(name)
		w.ok(err)
		w.roles = append(w.roles, role)
	}
	ctx := context.Background()
	w.ok(w.direct.CreateCurrency(ctx, "eur"))
	w.ok(w.direct.CreateLanguage(ctx, "eng"))
	w.merchants = &knownMerchants{}
	for i := range 2 {
		s := seller{id: fixedID("merchant", i), plan: fixedID("plan", i)}
		_, err := w.direct.CreateMerchant(ctx, billing.Merchant{ID: s.id, Name: fmt.Sprint("M", i), Currency: "eur", Language: "eng"})
		w.ok(err)
		for n := range plansPerMerchant {
			s.plans = append(s.plans, fixedID("plan", 10*n+i))
			_, err = w.direct.CreatePlan(ctx, s.id, billing.Plan{ID: s.plans[n], Name: fmt.Sprint("P", i, n)})
			w.ok(err)
		}
		s.key, s.secret = w.merchants.add(s.id)
		for n := range 2 {
			c := oldCustomer{id: fixedID("customer", 10*i+n), user: w.newUser(fmt.Sprint("old ", i, n)), bare: n == 1}
			_, err := w.direct.EnsureCustomer(ctx, billing.Customer{
				ID: c.id, MerchantID: s.id, Name: "Old", Currency: "eur", Language: "eng",
			})
			w.ok(err)
			s.customers = append(s.customers, c)
			if c.bare {
				continue
			}
			project := w.cloud.AddProject(keystone.Project{
				Name: "bs-customer-" + c.id, Tags: []string{"tenantry", "tenantry-merchant-" + s.id},
			})
			member, err := w.cloud.Role("member")
			w.ok(err)
			w.cloud.Assign(keystone.Assignment{ProjectID: project, UserID: c.user, RoleID: member.ID})
		}
		w.sellers = append(w.sellers, s)
	}
	for n := range w.plan.Orders {
		w.users = append(w.users, w.newUser(fmt.Sprint("user ", n)))
	}
	if w.signUps != nil {
		w.signUps.lobby = w.cloud.AddProject(keystone.Project{Name: "lobby"})
	}
	w.before = w.look()
}

func (w *world) newUser(name string) string {
	return w.cloud.AddUser(keystonetest.User{Name: name, Password: userPassword})
}

func fixedID(kind string, n int) string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", kind[:4], n)
}

// knownMerchants stores the merchants of a world. These merchants never change.
type knownMerchants struct {
	merchants.Store // always nil: a simulation calls only the methods that knownMerchants defines

	all  []merchants.Merchant
	keys []merchants.APIKey
}

func (k *knownMerchants) add(id string) (key, secret string) {
	made, secret, err := merchants.NewKey(rand.NewChaCha8([32]byte{byte(len(k.all))}), id, time.Now())
	if err != nil {
		panic(err) // cannot happen: reads from this random source do not fail
	}
	k.all = append(k.all, merchants.Merchant{ID: id, Name: id, Cloud: merchants.DefaultCloud, OnFailure: merchants.Compensate, SignUp: true})
	k.keys = append(k.keys, made)
	return made.Key, secret
}

// Key returns an API key and the key's merchant.
func (k *knownMerchants) Key(_ context.Context, key string) (merchants.APIKey, merchants.Merchant, error) {
	for i := range k.keys {
		if k.keys[i].Key == key {
			return k.keys[i], k.all[i], nil
		}
	}
	return merchants.APIKey{}, merchants.Merchant{}, merchants.ErrNotFound
}

// Merchant returns the merchant with this id.
func (k *knownMerchants) Merchant(_ context.Context, id string) (merchants.Merchant, error) {
	for _, m := range k.all {
		if m.ID == id {
			return m, nil
		}
	}
	return merchants.Merchant{}, merchants.ErrNotFound
}

// issueToken returns a new token of a user and adds the token to the secrets of the world.
func (w *world) issueToken(user string) string {
	token := w.cloud.IssueToken(user)
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.seen.Secrets = append(w.seen.Secrets, token)
	return token
}

func (w *world) merchantIDs() (ids []string) {
	for _, s := range w.sellers {
		ids = append(ids, s.id)
	}
	return ids
}
