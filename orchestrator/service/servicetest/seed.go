package servicetest

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// Merchant holds the ids of a merchant, its plan and its customer, and the merchant's API key with its secret.
type Merchant struct{ ID, Key, Secret, Plan, Customer string }

// The method `seed` creates the merchants, customers, users and roles that exist before the test begins.
func (in *Installation) seed(ctx context.Context) (err error) {
	if in.Merchant, err = in.addMerchant(ctx, "Shop"); err != nil {
		return err
	}
	if in.Other, err = in.addMerchant(ctx, "Other"); err != nil {
		return err
	}
	in.Keystone.AddRole("bs-admin")
	in.User = in.Keystone.AddUser(keystonetest.User{Name: "ada", Password: "pw"})
	in.UserToken = in.Keystone.IssueToken(in.User)
	tenant := in.Keystone.AddProject(keystone.Project{Name: keystone.CustomerTenant(in.Merchant.Customer)})
	member, err := in.Keystone.Role("member")
	if err != nil {
		return err
	}
	in.Keystone.Assign(keystone.Assignment{ProjectID: tenant, UserID: in.User, RoleID: member.ID})

	operator := in.Keystone.AddUser(keystonetest.User{Name: "olga", Password: "pw"})
	project := in.Keystone.AddProject(keystone.Project{Name: "operations"})
	in.Keystone.Assign(keystone.Assignment{ProjectID: project, UserID: operator, RoleID: in.Keystone.AddRole(AdminRole)})
	scoped, err := in.Identity.ExchangeToken(ctx, in.Keystone.IssueToken(operator), project)
	in.OperatorToken = scoped.ID
	return err
}

func (in *Installation) addMerchant(ctx context.Context, name string) (Merchant, error) {
	m, err := in.Billing.CreateMerchant(ctx, billing.Merchant{Name: name, Currency: "nok", Language: "nor"})
	if err != nil {
		return Merchant{}, err
	}
	plan, err := in.Billing.CreatePlan(ctx, m.ID, billing.Plan{Name: name + "'s plan"})
	if err != nil {
		return Merchant{}, err
	}
	customer, err := in.Billing.EnsureCustomer(ctx, billing.Customer{
		ID: uuid.NewString(), MerchantID: m.ID, Name: "Customer of " + name, Currency: "nok", Language: "nor",
	})
	if err != nil {
		return Merchant{}, err
	}
	key, secret, err := merchants.NewKey(rand.Reader, m.ID, time.Now())
	if err != nil {
		return Merchant{}, err
	}
	err = in.Store.Merchants().Create(ctx, merchants.Merchant{
		ID: m.ID, Name: name, Cloud: merchants.DefaultCloud, OnFailure: merchants.Compensate, SignUp: true, CreatedAt: time.Now(),
	}, key)
	return Merchant{m.ID, key.Key, secret, plan.ID, customer.ID}, err
}
