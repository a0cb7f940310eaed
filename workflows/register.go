package workflows

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Registration is the data of one run of the workflow `register`. A Registration is stored as JSON, so fields may be added, but never
// removed or renamed.
type Registration struct {
	NewUser

	MerchantID string `json:"merchant_id"`
	RunID      string `json:"run_id"`
	Cloud      string `json:"cloud"`
	DomainID   string `json:"domain_id"`

	// The steps set the fields below.

	UserID string `json:"user_id,omitempty"`
	PasswordState
}

// RegistrationResult is the part of a Registration that the API returns with a run.
type RegistrationResult struct {
	UserID   string `json:"user_id,omitempty"`
	UserName string `json:"user_name"`
}

func (r Registration) result() any { return RegistrationResult{r.UserID, r.Name} }

func (r *Registration) account() account {
	return account{r.NewUser, r.Cloud, r.DomainID, r.RunID, &r.UserID, &r.PasswordState}
}

// RegisterName is the name of the workflow that [Register] returns.
const RegisterName = "register"

// signUpDomain returns Keystone and the domain in which the merchant's portal may register users and log users in.
func (d Deps) signUpDomain(ctx context.Context, m merchants.Merchant) (keystone.Identity, keystone.Domain, error) {
	var domain keystone.Domain
	if !m.SignUp {
		return nil, domain, refuse(CodeSignUpOff, saga.FixByOperator, "sign-up is off for the merchant")
	}
	id, err := d.cloudOf(m)
	if err != nil {
		return nil, domain, err
	}
	return id, domain, d.readDomain(ctx, id, m, &domain)
}

// AdmitRegister checks a registration against Keystone, and returns the request for its run. The caller adds the idempotency key, the
// fingerprint, the password and the caller's name. AdmitRegister writes nothing.
func (d Deps) AdmitRegister(ctx context.Context, m merchants.Merchant, user NewUser) (saga.Request, error) {
	id, domain, err := d.signUpDomain(ctx, m)
	if err != nil {
		return saga.Request{}, err
	}
	r := Registration{NewUser: user, MerchantID: m.ID, RunID: d.NewID(), Cloud: m.Cloud, DomainID: domain.ID}
	if err := nameFree(ctx, id, r.account()); err != nil {
		return saga.Request{}, err
	}
	// Registrations of a merchant whose names differ only in case have the same subject, so their runs execute one at a time. Another
	// merchant may use the same domain, but its runs must not delay the runs of this merchant. A failed run is always compensated: the
	// merchant's setting `on_failure` has no effect, because no operator can help if a password breaks a rule.
	return saga.Request{
		ID: r.RunID, Workflow: RegisterName, Merchant: m.ID, Cloud: m.Cloud,
		Subject:   RegisterSubject(r),
		OnFailure: saga.FailureCompensates, Input: r,
	}, nil
}

// RegisterSubject returns the subject of the registration's run.
func RegisterSubject(r Registration) string {
	return r.MerchantID + ":user " + r.Cloud + "/" + r.DomainID + "/" + keystone.FoldedName(r.Name)
}

// Register returns the workflow that creates a user with a password.
func Register(d Deps) saga.Workflow[Registration] {
	return saga.Workflow[Registration]{
		Name: RegisterName, Version: 1, Classify: Classify, Result: Registration.result,
		Meaning: saga.Meaning{
			Open:   "The user is not registered yet.",
			Failed: "The user is not registered.",
			Done:   "The user is registered, and can log in.",
		},
		Retry: func(context.Context, Registration, string) (saga.Request, error) {
			return saga.Request{}, errPasswordNotStored
		},
		Expect: func(r Registration) []saga.Expected { return r.account().expectUser() },
		Steps: append(userSteps(d, (*Registration).account, nil), saga.Step[Registration]{
			Name: "set-password", After: []string{"check-twins"}, Effect: saga.Changes,
			Satisfied: func(r *Registration, _ time.Time) bool { return r.PasswordSet },
			Do:        func(ctx context.Context, r *Registration) error { return d.setPassword(ctx, r.account()) },
			NoUndo:    "the undo of create-user also removes the password",
		}),
	}
}
