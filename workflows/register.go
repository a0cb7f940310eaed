package workflows

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Registration is the data of one run of the workflow `register`. A Registration is stored as JSON, so fields may be added, but never
// removed or renamed. It does not contain the user's password, which is never stored.
type Registration struct {
	NewUser

	MerchantID string `json:"merchant_id"`
	RunID      string `json:"run_id"`
	Cloud      string `json:"cloud"`
	DomainID   string `json:"domain_id"`

	// The steps set the fields below.

	UserID      string `json:"user_id,omitempty"`
	PasswordSet bool   `json:"password_set,omitempty"` // the user has the password that the caller sent last
}

// NewUser contains the values that the caller sent, except the password.
type NewUser struct {
	Name  string `json:"name"`
	Email string `json:"email,omitempty"`
}

// RegistrationResult is the part of a Registration that the API returns with a run.
type RegistrationResult struct {
	UserID   string `json:"user_id,omitempty"`
	UserName string `json:"user_name"`
}

func (r Registration) result() any { return RegistrationResult{r.UserID, r.Name} }

// RegisterName is the name of the workflow that [Register] returns.
const RegisterName = "register"

// errUserExists returns the reason why a user with this name cannot be created.
func errUserExists(name string, other keystone.User) *AdmissionError {
	detail := "a user with this name exists already"
	if other.Name != name && other.Name != "" {
		detail = "a user exists already whose name differs only in upper and lower case"
	}
	return refuse(CodeUserExists, saga.FixByUser, detail)
}

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
	if err := checkName(ctx, id, &r); err != nil {
		return saga.Request{}, err
	}
	// Registrations of a merchant whose names differ only in case have the same subject, so their runs execute one at a time. Another merchant
	// may use the same domain, but its runs must not delay the runs of this merchant. A failed run is always compensated, whatever the
	// merchant's setting `on_failure` is: a password that breaks a rule needs no operator.
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

// LogIn logs a user of the merchant in, and returns an unscoped token that Keystone accepts.
//
// A token is invalid from the beginning if it is issued in the same second in which the user's password was set, because Keystone counts in
// whole seconds. LogIn then waits for a second, and logs in again.
func (d Deps) LogIn(ctx context.Context, m merchants.Merchant, name, password string) (t keystone.UserToken, err error) {
	id, domain, err := d.signUpDomain(ctx, m)
	if err != nil {
		return t, err
	}
	for attempt := 1; ; attempt++ {
		if t, err = id.LogIn(ctx, domain.ID, name, password); err != nil {
			return t, err
		}
		_, err = id.ValidateToken(ctx, t.ID)
		if !errors.Is(err, keystone.ErrTokenInvalid) || attempt == 3 {
			break
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return keystone.UserToken{}, ctx.Err()
		}
	}
	if err != nil {
		return keystone.UserToken{}, err
	}
	return t, nil
}

// checkName returns an error if a user exists with the same name, or with a name that differs only in case. The user whom this run has
// created does not count. If Keystone does not show all users, checkName looks only for a user with exactly this name.
func checkName(ctx context.Context, id keystone.Identity, r *Registration) error {
	other, err := id.SimilarUser(ctx, r.DomainID, r.Name)
	if errors.Is(err, keystone.ErrCut) {
		other, err = id.FindUser(ctx, r.DomainID, r.Name)
	}
	switch {
	case errors.Is(err, keystone.ErrNotFound), err == nil && other.RunID == r.RunID:
		return nil
	case err != nil:
		return err
	}
	return errUserExists(r.Name, other)
}

// retryRegister refuses to repeat a registration, because the password is not stored.
func retryRegister(context.Context, Registration, string) (saga.Request, error) {
	return saga.Request{}, &saga.RetryRefusedError{
		Code: "password-missing", FixBy: saga.FixByMerchant,
		Detail: "Tenantry has not stored the password: the portal must register the user again, with a new key",
	}
}

// Register returns the workflow that creates a user with a password.
func Register(d Deps) saga.Workflow[Registration] {
	return saga.Workflow[Registration]{
		Name: RegisterName, Version: 1, Classify: Classify, Retry: retryRegister, Result: Registration.result,
		Expect: func(r Registration) []saga.Expected {
			if r.UserID == "" {
				return nil
			}
			return []saga.Expected{{
				Object: saga.Object{Step: "create-user", Kind: "user", Cloud: r.Cloud, ID: r.UserID, Name: r.Name, Origin: saga.Own},
				Fields: map[string]string{"domain_id": r.DomainID},
			}}
		},
		Steps: []saga.Step[Registration]{
			{Name: "check-name", Effect: saga.Reads, Do: d.checkName, NoUndo: "it only reads"},
			{
				Name: "create-user", After: []string{"check-name"},
				Find:  d.findUser,
				Claim: func(r *Registration, _ string) string { return ClaimUser(r.Cloud, r.DomainID, r.Name) },
				Do:    d.createUser,
				Undo:  d.removeUser,
			},
			// Another merchant or another installation may have created a user with a similar name since the step `check-name`.
			{Name: "check-twins", After: []string{"create-user"}, Effect: saga.Reads, Do: d.checkName, NoUndo: "it only reads"},
			{
				Name: "set-password", After: []string{"check-twins"}, Effect: saga.Changes,
				Satisfied: func(r *Registration, _ time.Time) bool { return r.PasswordSet },
				Do:        d.setPassword,
				NoUndo:    "the undo of create-user also removes the password",
			},
		},
	}
}

// The method `checkName` fails if the name is taken: see the function checkName.
func (d Deps) checkName(ctx context.Context, r *Registration) error {
	id, err := d.Identity(r.Cloud)
	if err != nil {
		return err
	}
	err = checkName(ctx, id, r)
	if refused, ok := errors.AsType[*AdmissionError](err); ok {
		return refused.asStep()
	}
	return err
}

// findUser looks the user up by name.
func (d Deps) findUser(ctx context.Context, r *Registration) (saga.Found, error) {
	id, err := d.Identity(r.Cloud)
	if err != nil {
		return saga.Absent, err
	}
	u, err := id.FindUser(ctx, r.DomainID, r.Name)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	case u.RunID != r.RunID:
		return saga.Foreign, errUserExists(r.Name, u).asStep()
	}
	r.madeUser(ctx, u)
	return saga.Made, nil
}

// createUser creates the user with the password. If the answer to an earlier attempt was lost, the user may exist already, perhaps with an
// older password of the caller. The step `set-password` then sets the password.
func (d Deps) createUser(ctx context.Context, r *Registration) error {
	id, err := d.Identity(r.Cloud)
	if err != nil {
		return err
	}
	password, err := saga.CallOf(ctx).Password()
	if err != nil {
		return err
	}
	u, made, passwordSet, err := id.EnsureUser(ctx, keystone.NewUser{
		Name: r.Name, DomainID: r.DomainID, Email: r.Email, Password: password, RunID: r.RunID,
	})
	if err == nil && !made || errors.Is(err, keystone.ErrConflict) { // on MySQL, names conflict that differ in accents
		return errUserExists(r.Name, u).asStep()
	}
	if err != nil {
		return err
	}
	r.PasswordSet = passwordSet
	r.madeUser(ctx, u)
	return nil
}

func (r *Registration) madeUser(ctx context.Context, u keystone.User) {
	r.UserID = u.ID
	saga.CallOf(ctx).Made(saga.Object{Kind: "user", Cloud: r.Cloud, ID: u.ID, Name: u.Name, Origin: saga.Own})
}

// removeUser removes the user if this run created the user, unless the user is in use: see [keystone.Users].
func (d Deps) removeUser(ctx context.Context, r *Registration) error {
	id, err := d.Identity(r.Cloud)
	if err != nil {
		return err
	}
	removed, kept, err := id.RemoveUser(ctx, r.DomainID, r.Name, r.RunID)
	if kept != "" {
		saga.CallOf(ctx).Keep(kept)
	}
	return recordRemoval(ctx, "user", removed.ID, removed.ID != "", err)
}

// setPassword sets the password of the user that the run has created or found.
func (d Deps) setPassword(ctx context.Context, r *Registration) error {
	id, err := d.Identity(r.Cloud)
	if err != nil {
		return err
	}
	password, err := saga.CallOf(ctx).Password()
	if err != nil {
		return err
	}
	err = id.SetPassword(ctx, r.UserID, password)
	if errors.Is(err, keystone.ErrNotFound) {
		return StepError{upstream.Permanent, "user-gone", "the user was deleted during the registration", saga.FixByUser}
	}
	r.PasswordSet = err == nil
	return err
}
