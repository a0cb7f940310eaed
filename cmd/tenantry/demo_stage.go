package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// demoPassword is the password of all users in the demo's Keystone. Only this host can reach the demo's Keystone.
const demoPassword = "demo"

// The type `stage` has the servers and clients of the demo: an in-memory Keystone, and a service with the embedded BillingStack and
// a database in a temporary directory. BillingStack has one merchant with two plans.
type stage struct {
	*service.Service
	directory    string
	keystone     *keystonetest.Keystone
	keystoneURL  string
	stopKeystone func()

	identity keystone.Identity // reads Keystone as admin
	billing  *billing.Client   // reads BillingStack
	merchant billing.Merchant
	plans    []billing.Plan

	apiKey, apiSecret string
}

// newStage starts the servers, and creates the merchant. Every write of the service to Keystone and BillingStack is delayed by the
// duration `pace`. If the function `refuse` returns true for a customer, BillingStack refuses to change the customer's
// subscription.
func newStage(ctx context.Context, pace time.Duration, refuse func(billing.Customer) bool) (_ *stage, err error) {
	s := &stage{keystone: keystonetest.New(keystonetest.Options{AdminPassword: demoPassword})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	s.keystone.AddRole("bs-admin")
	if s.keystoneURL, s.stopKeystone, err = s.keystone.Start(); err != nil {
		return nil, err
	}
	if s.directory, err = os.MkdirTemp("", "tenantry-demo-"); err != nil {
		return nil, err
	}
	key, err := s.newMerchant()
	if err != nil {
		return nil, err
	}
	config, err := loadConfig("", []string{
		"TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_BILLING_LISTEN=127.0.0.1:0",
		"TENANTRY_DATABASE_URL=sqlite:" + filepath.Join(s.directory, "tenantry.db"),
		"TENANTRY_PORTALS=" + filepath.Join(s.directory, portalsFile),
	})
	if err != nil {
		return nil, err
	}
	if config, err = withSecretKey(config); err != nil {
		return nil, err
	}
	s.Service, err = service.Start(ctx, service.Options{
		Config: config.Config, Log: zerolog.Nop(), Version: version, Settings: config.shown(),
		Cloud: func(string) (conn.Config, error) { return s.admin(), nil },
		Around: func(upstream string, next http.RoundTripper) http.RoundTripper {
			if upstream == service.BillingStack {
				next = refusing{next, refuse}
			}
			return slow{next, pace}
		},
	})
	if err != nil {
		return nil, err
	}
	if s.identity, err = clouds.Open(s.admin()); err != nil {
		return nil, err
	}
	if s.billing, err = billing.New(billing.Config{URL: s.BillingURL, Connections: 4}); err != nil {
		return nil, err
	}
	return s, s.seed(ctx, key)
}

// The method `admin` returns the Keystone admin's credential. The service and the operator log in with this credential.
func (s *stage) admin() conn.Config {
	return conn.Config{URL: s.keystoneURL, Credential: conn.Credential{
		Username: "admin", UserDomainID: keystonetest.DefaultDomain, Password: demoPassword,
		ProjectName: "admin", ProjectDomainID: keystonetest.DefaultDomain,
	}}
}

const portalsFile = "portals.yaml"

// newMerchant makes up the merchant and its API key, and writes the configuration of its portal, which the service reads when it starts.
func (s *stage) newMerchant() (key merchants.APIKey, err error) {
	s.merchant = billing.Merchant{ID: uuid.NewString(), Name: "ACME Cloud", Currency: "eur", Language: "eng"}
	if key, s.apiSecret, err = merchants.NewKey(rand.Reader, s.merchant.ID, now()); err != nil {
		return key, err
	}
	s.apiKey = key.Key
	portals := fmt.Sprintf(`portals:
  - {merchant: %s, name: %s, key: %s, secret_file: portal.secret, currency: EUR, colours: {header: "#14332b", accent: "#0b6e4f"}}
`, s.merchant.ID, s.merchant.Name, s.apiKey)
	return key, errors.Join(
		os.WriteFile(filepath.Join(s.directory, portalsFile), []byte(portals), 0o600),
		os.WriteFile(filepath.Join(s.directory, "portal.secret"), []byte(s.apiSecret), 0o600))
}

// The method `seed` creates the merchant with its API key, its products and its plans.
func (s *stage) seed(ctx context.Context, key merchants.APIKey) (err error) {
	if s.merchant, err = s.billing.CreateMerchant(ctx, s.merchant); err != nil {
		return err
	}
	products := make([]string, len(demoProducts))
	for i, p := range demoProducts {
		product, err := s.billing.CreateProduct(ctx, s.merchant.ID, billing.Product{
			ID: uuid.NewString(), Name: p.name, Pricing: []any{map[string]any{"type": "fixed", "price": p.price}},
		})
		if err != nil {
			return err
		}
		products[i] = product.ID
	}
	for _, p := range demoPlans {
		plan, err := s.billing.CreatePlan(ctx, s.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: p.name, Description: p.description})
		if err != nil {
			return err
		}
		for _, product := range products[:p.products] {
			if err := s.billing.AddPlanItem(ctx, s.merchant.ID, plan.ID, product); err != nil {
				return err
			}
		}
		s.plans = append(s.plans, plan)
	}
	return s.Store.Merchants().Create(ctx, merchants.Merchant{
		ID: s.merchant.ID, Name: s.merchant.Name, Cloud: merchants.DefaultCloud, OnFailure: merchants.Compensate, SignUp: true, CreatedAt: now(),
	}, key)
}

// What the demo's merchant sells. A plan has the first products of the list.
var (
	demoProducts = []struct {
		name  string
		price float64
	}{{"vCPU hour", 0.02}, {"disk GB hour", 0.0001}, {"GPU hour", 0.9}}
	demoPlans = []struct {
		name, description string
		products          int
	}{{"small", "For a first server", 2}, {"large", "With graphics cards", 3}}
)

// The method `stop` stops the servers and removes all files of the demo.
func (s *stage) stop() (err error) {
	if s.Service != nil {
		err = s.Stop()
	}
	if s.stopKeystone != nil {
		s.stopKeystone()
	}
	if s.directory != "" {
		err = errors.Join(err, os.RemoveAll(s.directory))
	}
	return err
}
