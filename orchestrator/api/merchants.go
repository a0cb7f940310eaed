package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ListMerchants lists a page of the merchants, or of those whose names contain a text.
func (s *server) ListMerchants(c echo.Context, p ListMerchantsParams) error {
	limit, page := pageOf(p.Limit, p.Marker)
	found, err := s.Merchants.List(c.Request().Context(), merchants.Filter{Name: valueOf(p.Name), After: page.After, Limit: page.Limit})
	if err != nil {
		return err
	}
	answer := MerchantList{Merchants: []Merchant{}}
	for _, m := range found[:min(limit, len(found))] {
		answer.Merchants = append(answer.Merchants, s.viewMerchant(m))
	}
	next := ""
	if len(found) > limit {
		next = found[limit-1].ID
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// CreateMerchant registers a merchant of BillingStack and creates its first API key.
func (s *server) CreateMerchant(c echo.Context) error {
	want, err := bodyAs[MerchantCreate](c, s.document.operations["createMerchant"])
	if err != nil {
		return err
	}
	if want.Name != nil && blank(*want.Name) != "" {
		return invalid(InvalidParam{Pointer: some("/name"), Detail: blank(*want.Name)})
	}
	ctx := c.Request().Context()
	known, err := s.Billing.Merchant(ctx, want.MerchantID)
	if errors.Is(err, billing.ErrNotFound) {
		return invalid(InvalidParam{Pointer: some("/merchant_id"), Detail: "BillingStack has no such merchant"})
	}
	if err != nil {
		return err
	}
	m := merchants.Merchant{
		ID: want.MerchantID, Name: cmp.Or(valueOf(want.Name), known.Name), Cloud: cmp.Or(valueOf(want.Cloud), merchants.DefaultCloud),
		Domain: valueOf(want.Domain), CustomerRoles: valueOf(want.CustomerRoles), SubscriptionRoles: valueOf(want.SubscriptionRoles),
		OnFailure: cmp.Or(string(valueOf(want.OnFailure)), merchants.Compensate), AdoptUnmarked: valueOf(want.AdoptUnmarked),
		SignUp: valueOf(want.SignUp), MaxLiveRuns: valueOf(want.MaxLiveRuns),
	}
	if err := s.resolves(ctx, m); err != nil {
		return err
	}
	m.CreatedAt = s.now() // after the calls to Keystone
	key, secret, err := merchants.NewKey(s.Random, m.ID, m.CreatedAt)
	if err != nil {
		return err
	}
	if err := s.Merchants.Create(ctx, m, key); err != nil {
		return err
	}
	v := s.viewMerchant(m)
	c.Response().Header().Set(echo.HeaderLocation, "/v1/merchants/"+m.ID)
	return answerJSON(c, http.StatusCreated, MerchantCreated{
		APIKey: key.Key, APISecret: secret,
		MerchantID: v.MerchantID, Name: v.Name, Cloud: v.Cloud, Domain: v.Domain, CustomerRoles: v.CustomerRoles,
		SubscriptionRoles: v.SubscriptionRoles, OnFailure: v.OnFailure, AdoptUnmarked: v.AdoptUnmarked, SignUp: v.SignUp,
		MaxLiveRuns: v.MaxLiveRuns, InForce: v.InForce, CreatedAt: v.CreatedAt,
	})
}

// GetMerchant shows a merchant, and counts its live runs.
func (s *server) GetMerchant(c echo.Context, merchantID string) error {
	if !callerOf(c).sees(merchantID) {
		return merchants.ErrNotFound
	}
	m, err := s.Merchants.Merchant(c.Request().Context(), merchantID)
	if err != nil {
		return err
	}
	live, err := s.Runs.LiveRuns(c.Request().Context(), merchantID)
	if err != nil {
		return err
	}
	v := s.viewMerchant(m)
	v.LiveRuns = &live
	return answerJSON(c, http.StatusOK, v)
}

// UpdateMerchant copies the fields of the request to a merchant. Runs that were accepted before the change keep the old values.
func (s *server) UpdateMerchant(c echo.Context, merchantID string) error {
	want, err := bodyAs[MerchantUpdate](c, s.document.operations["updateMerchant"])
	if err != nil {
		return err
	}
	if want.Name != nil && blank(*want.Name) != "" {
		return invalid(InvalidParam{Pointer: some("/name"), Detail: blank(*want.Name)})
	}
	ctx := c.Request().Context()
	if want.Cloud != nil || want.Domain != nil || want.CustomerRoles != nil || want.SubscriptionRoles != nil {
		m, err := s.Merchants.Merchant(ctx, merchantID)
		if err != nil {
			return err
		}
		s.change(&m, want)
		if err := s.resolves(ctx, m); err != nil {
			return err
		}
	}
	m, err := s.Merchants.Update(ctx, merchantID, func(m *merchants.Merchant) error {
		s.change(m, want)
		return nil
	})
	if err != nil {
		return err
	}
	return answerJSON(c, http.StatusOK, s.viewMerchant(m))
}

// The method `change` copies the fields of the request to the merchant. Fields that the request omits do not change.
func (s *server) change(m *merchants.Merchant, want MerchantUpdate) {
	set(&m.Name, want.Name)
	set(&m.Cloud, want.Cloud)
	set(&m.Domain, want.Domain)
	set(&m.CustomerRoles, want.CustomerRoles)
	set(&m.SubscriptionRoles, want.SubscriptionRoles)
	set(&m.OnFailure, (*string)(want.OnFailure))
	set(&m.AdoptUnmarked, want.AdoptUnmarked)
	set(&m.SignUp, want.SignUp)
	set(&m.MaxLiveRuns, want.MaxLiveRuns)
	switch {
	case want.Disabled == nil:
	case *want.Disabled:
		m.Disable(s.now())
	default:
		m.Enable()
	}
}

// The method `resolves` returns an error if the merchant's cloud does not have the merchant's domain and roles. Without this check, the
// merchant's first order would fail with the problem configuration-fault.
func (s *server) resolves(ctx context.Context, m merchants.Merchant) error {
	identity, err := s.Identity(m.Cloud)
	if err != nil {
		return invalid(InvalidParam{Pointer: some("/cloud"), Detail: "the service has no cloud of this name in its configuration"})
	}
	_, err = identity.Domain(ctx, cmp.Or(m.Domain, s.Admit.Defaults.Domain))
	if err = unresolved("/domain", err); err != nil {
		return err
	}
	_, err = identity.Roles(ctx, m.CustomerRoles)
	if err = unresolved("/customer_roles", err); err != nil {
		return err
	}
	_, err = identity.Roles(ctx, m.SubscriptionRoles)
	return unresolved("/subscription_roles", err)
}

func unresolved(pointer string, err error) error {
	if e, ok := errors.AsType[*upstream.Error](err); ok && errors.Is(err, keystone.ErrAmbiguous) {
		return invalid(InvalidParam{Pointer: &pointer, Detail: "several domains or roles have this name: " + e.Message})
	}
	if errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrRefusedRole) {
		return invalid(InvalidParam{
			Pointer: &pointer, Detail: "Keystone has no such domain or role, or users must not get the role",
		})
	}
	return err
}

// The function `set` copies *given to *field. If given is nil, the field does not change.
func set[T any](field, given *T) {
	if given != nil {
		*field = *given
	}
}

// ListKeys lists a page of the keys of a merchant.
func (s *server) ListKeys(c echo.Context, merchantID string, p ListKeysParams) error {
	ctx := c.Request().Context()
	if _, err := s.Merchants.Merchant(ctx, merchantID); err != nil {
		return err
	}
	limit, page := pageOf(p.Limit, p.Marker)
	keys, err := s.Merchants.Keys(ctx, merchantID, page.After, page.Limit)
	if err != nil {
		return err
	}
	answer := APIKeyList{Keys: []APIKey{}}
	for _, k := range keys[:min(limit, len(keys))] {
		answer.Keys = append(answer.Keys, APIKey{
			MerchantID: k.MerchantID, APIKey: k.Key, CreatedAt: k.CreatedAt, RevokedAt: k.RevokedAt,
		})
	}
	next := ""
	if len(keys) > limit {
		next = keys[limit-1].Key
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

// RotateKey creates a new API key for a merchant. The previous key remains valid, and older keys are revoked.
func (s *server) RotateKey(c echo.Context, merchantID string) error {
	key, secret, err := merchants.NewKey(s.Random, merchantID, s.now())
	if err != nil {
		return err
	}
	key, revoked, err := s.Merchants.Rotate(c.Request().Context(), key)
	if err != nil {
		return err
	}
	answer := APIKeyCreated{
		MerchantID: merchantID, APIKey: key.Key, APISecret: secret, CreatedAt: key.CreatedAt, Revoked: []string{},
	}
	for _, k := range revoked {
		answer.Revoked = append(answer.Revoked, k.Key)
	}
	return answerJSON(c, http.StatusCreated, answer)
}

func (s *server) viewMerchant(m merchants.Merchant) Merchant {
	return Merchant{
		MerchantID: m.ID, Name: m.Name, Cloud: m.Cloud, Domain: m.Domain, CustomerRoles: append(Roles{}, m.CustomerRoles...),
		SubscriptionRoles: append(Roles{}, m.SubscriptionRoles...), OnFailure: OnFailure(m.OnFailure),
		AdoptUnmarked: m.AdoptUnmarked, SignUp: m.SignUp, MaxLiveRuns: m.MaxLiveRuns, CreatedAt: m.CreatedAt, DisabledAt: m.DisabledAt,
		InForce: &InForce{
			Domain: cmp.Or(m.Domain, s.Admit.Defaults.Domain), CustomerRoles: orDefault(m.CustomerRoles, s.Admit.Defaults.CustomerRoles),
			SubscriptionRoles: orDefault(m.SubscriptionRoles, s.Admit.Defaults.SubscriptionRoles), MaxLiveRuns: cmp.Or(m.MaxLiveRuns, s.MaxLiveRuns),
		},
	}
}

// orDefault returns the merchant's roles, or the configured ones if the merchant has none.
func orDefault(own, configured []string) Roles {
	if len(own) == 0 {
		own = configured
	}
	return append(Roles{}, own...)
}
