package workflows

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// AdmissionError contains the reason why an order was refused. An order is refused before anything is written.
type AdmissionError struct {
	Code   saga.Code // the name of a problem type of the API; if a retry is refused, the code may have no problem type
	Detail string
	FixBy  saga.FixBy
	Params []Param // the invalid parameters of the order
	Err    error   // the cause, for the log
}

// Param is an invalid parameter of an order.
type Param struct {
	Pointer string // JSON pointer to the parameter in the request
	Detail  string
}

// Codes of an AdmissionError.
const (
	CodeInvalidParams      saga.Code = "invalid-params"
	CodeUserTokenInvalid   saga.Code = "user-token-invalid"
	CodeTokenDelegated     saga.Code = "token-delegated"
	CodeTokenScoped        saga.Code = "token-scoped"
	CodeUserDomainForeign  saga.Code = "user-domain-foreign"
	CodeUserIDUnusable     saga.Code = "user-id-unusable"
	CodeUserNotOfCustomer  saga.Code = "user-not-of-customer"
	CodeConfigurationFault saga.Code = "configuration-fault"
	CodeUserExists         saga.Code = "user-exists"
	CodeSignUpOff          saga.Code = "sign-up-off"

	CodeSubscriptionNotFound  saga.Code = "subscription-not-found"
	CodeSubscriptionNotReady  saga.Code = "subscription-not-ready"
	CodeSubscriptionActive    saga.Code = "subscription-active"
	CodeSubscriptionSuspended saga.Code = "subscription-suspended"
	CodeSuspendedByOperator   saga.Code = "suspended-by-operator"
	CodeSubscriptionEnding    saga.Code = "subscription-ending"
	CodeSubscriptionEnded     saga.Code = "subscription-ended"
	CodeSubscriptionNotEnding saga.Code = "subscription-not-ending"
	CodeSubscriptionNotEnded  saga.Code = "subscription-not-ended"
	CodeEndingReplaced        saga.Code = "ending-replaced"
	CodeEndingTaken           saga.Code = "ending-taken"
	CodeSubscriptionChanged   saga.Code = "subscription-changed"
	CodePlanGone              saga.Code = "plan-gone"
	CodeTenantGone            saga.Code = "tenant-gone"
	CodeTenantDisabled        saga.Code = "tenant-disabled"
	CodeTenantNotOurs         saga.Code = "tenant-not-ours"
	CodeTenantReplaced        saga.Code = "tenant-replaced"
	CodeTenantEnabled         saga.Code = "tenant-enabled"
	CodeTenantNotSettled      saga.Code = "tenant-not-settled"
)

func (e *AdmissionError) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Detail + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Detail
}

// Unwrap returns the cause.
func (e *AdmissionError) Unwrap() error { return e.Err }

// asStep returns the refusal as a permanent error of a step.
func (e *AdmissionError) asStep() StepError {
	return StepError{upstream.Permanent, e.Code, e.Detail, e.FixBy}
}

// The function `unconfigured` returns the refusal of an order whose cloud is not configured.
func unconfigured(err error) *AdmissionError {
	return &AdmissionError{Code: CodeConfigurationFault, FixBy: saga.FixByOperator, Detail: "the subscription's cloud is not configured", Err: err}
}

func refuse(code saga.Code, fixBy saga.FixBy, detail string) *AdmissionError {
	return &AdmissionError{Code: code, FixBy: fixBy, Detail: detail}
}

func invalid(params ...Param) *AdmissionError {
	return &AdmissionError{Code: CodeInvalidParams, FixBy: saga.FixByMerchant, Detail: params[0].Detail, Params: params}
}

// Defaults contains the roles and the domain for merchants that do not have their own settings.
type Defaults struct {
	CustomerRoles     []string
	SubscriptionRoles []string
	Domain            string // name or id
}

// cloudOf returns the Keystone of a merchant. If the merchant's cloud is not configured, cloudOf returns an error that asks an
// operator to fix the configuration.
func (d Deps) cloudOf(m merchants.Merchant) (keystone.Identity, error) {
	id, err := d.Identity(m.Cloud)
	if err != nil {
		return nil, &AdmissionError{Code: CodeConfigurationFault, FixBy: saga.FixByOperator, Detail: "the merchant's cloud is not configured", Err: err}
	}
	return id, nil
}

// readToken validates the user's token and stores the result in *into.
func (d Deps) readToken(ctx context.Context, id keystone.Identity, cloud, text string, into *keystone.Token) error {
	var err error
	*into, err = coalesce.Read(ctx, d.Reads, "token "+cloud+" "+digest(text), id.ValidateToken, text)
	if errors.Is(err, keystone.ErrTokenInvalid) {
		return refuse(CodeUserTokenInvalid, saga.FixByUser, "the user's token is unknown to Keystone, expired or revoked")
	}
	return err
}

// The function `usable` returns an error if no role can be assigned to the user with this id: see [keystone.ValidID].
func usable(userID string) error {
	if keystone.ValidID(userID) {
		return nil
	}
	return refuse(CodeUserIDUnusable, saga.FixByOperator,
		"the user's id in Keystone has more than 64 characters, contains a slash or a control character, or is a dot or two dots")
}

// The function `fitting` returns an error if the token is delegated or scoped, or if the token's user is in another domain or has an
// unusable id.
func fitting(token keystone.Token, domain keystone.Domain) error {
	switch {
	case token.Delegated():
		return refuse(CodeTokenDelegated, saga.FixByUser, "the user's token comes from an application credential or a trust")
	case token.Scoped():
		return refuse(CodeTokenScoped, saga.FixByMerchant, `the token is scoped: get one with "scope": "unscoped"`)
	case token.UserDomainID != domain.ID:
		return refuse(CodeUserDomainForeign, saga.FixByMerchant, "the user is not in the merchant's domain")
	}
	return usable(token.UserID)
}

// readDomain resolves the domain of a merchant's users and tenants.
func (d Deps) readDomain(ctx context.Context, id keystone.Identity, m merchants.Merchant, into *keystone.Domain) error {
	name := cmp.Or(m.Domain, d.Defaults.Domain)
	var err error
	*into, err = coalesce.Read(ctx, d.Reads, "domain "+m.Cloud+" "+name, id.Domain, name)
	return configured("domain", err)
}

// readRoles resolves the roles that a merchant's users get. readRoles makes its two calls in sequence, because the second call
// can use roles that the first call has cached. If Keystone returns the same role for several names, the result has the role once.
func (d Deps) readRoles(ctx context.Context, id keystone.Identity, m merchants.Merchant, customer, subscription *[]keystone.Role) (err error) {
	if *customer, err = id.Roles(ctx, orElse(m.CustomerRoles, d.Defaults.CustomerRoles)); err == nil {
		*subscription, err = id.Roles(ctx, orElse(m.SubscriptionRoles, d.Defaults.SubscriptionRoles))
	}
	*customer, *subscription = distinct(*customer), distinct(*subscription)
	return configured("roles", err)
}

// The function `distinct` returns each role once.
func distinct(roles []keystone.Role) (once []keystone.Role) {
	for _, r := range roles {
		if !slices.Contains(once, r) {
			once = append(once, r)
		}
	}
	return once
}

// addUser is the end of an error text. The text names the field that lets a portal place an order for a user without a role on the
// customer's tenant.
const addUser = `; to add another user to the customer, send "add_user": true`

// The method `member` returns an error if the customer has no tenant, or if the user has no role on the tenant.
func (d Deps) member(ctx context.Context, id keystone.Identity, domainID, customerID, userID string) error {
	project, err := id.FindProject(ctx, domainID, keystone.CustomerTenant(customerID))
	if errors.Is(err, keystone.ErrNotFound) {
		return refuse(CodeUserNotOfCustomer, saga.FixByMerchant, "the customer has no tenant yet, so the user has no role on it"+addUser)
	}
	if err != nil {
		return err
	}
	roles, err := id.AssignedRoles(ctx, project.ID, userID)
	if err == nil && len(roles) == 0 {
		return refuse(CodeUserNotOfCustomer, saga.FixByMerchant, "the user has no role on the customer's tenant"+addUser)
	}
	return err
}

// sideBySide makes all reads concurrently and waits for all results. If all errors are about invalid parameters, sideBySide joins
// the errors into one error. Otherwise sideBySide returns the first error that is not about an invalid parameter.
func sideBySide(reads ...func() error) error {
	failures := make([]error, len(reads))
	var all sync.WaitGroup
	for i, read := range reads {
		all.Go(func() { failures[i] = read() })
	}
	all.Wait()
	var params []Param
	for _, err := range failures {
		r, ok := errors.AsType[*AdmissionError](err)
		switch {
		case ok && r.Code == CodeInvalidParams:
			params = append(params, r.Params...)
		case err != nil:
			return err
		}
	}
	if len(params) > 0 {
		return invalid(params...)
	}
	return nil
}

// The function `named` replaces the errors billing.ErrNotFound and billing.ErrInvalid with an error about an invalid parameter of
// the order. The argument `pointer` is the JSON pointer of the parameter.
func named(pointer, detail string, err error) error {
	if errors.Is(err, billing.ErrNotFound) || errors.Is(err, billing.ErrInvalid) {
		return invalid(Param{Pointer: pointer, Detail: detail})
	}
	return err
}

// The function `configured` replaces the Keystone errors ErrNotFound, ErrAmbiguous and ErrRefusedRole with an error that asks an
// operator to fix the configuration.
func configured(what string, err error) error {
	if errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrAmbiguous) || errors.Is(err, keystone.ErrRefusedRole) {
		return &AdmissionError{
			Code: CodeConfigurationFault, FixBy: saga.FixByOperator, Detail: "the merchant's " + what + " cannot be resolved",
			Err: fmt.Errorf("resolving the merchant's %s: %w", what, err),
		}
	}
	return err
}

func orElse(own, usual []string) []string {
	if len(own) > 0 {
		return own
	}
	return usual
}

func digest(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}
