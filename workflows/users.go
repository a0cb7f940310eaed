package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// NewUser contains the values that the caller sent about a new user, except the password, which is never stored.
type NewUser struct {
	Name  string `json:"name"`
	Email string `json:"email,omitempty"`
}

// PasswordState describes the password of a run's new user. It does not contain the password.
type PasswordState struct {
	// PasswordSet reports whether the user has a password that the caller has sent.
	PasswordSet bool `json:"password_set,omitempty"`
	// PasswordHanded is the number of the user's password: see [saga.Run]. If a newer password was handed over later, the user does not
	// have the newer password.
	PasswordHanded int `json:"password_handed,omitempty"`
}

// The type `account` describes the user whom a run creates. The pointers refer to the state of the run.
type account struct {
	NewUser

	cloud, domain, run string // run is empty before the order is accepted
	id                 *string
	password           *PasswordState
}

// userSteps returns the steps that create a user: check-name, create-user and check-twins. The function `of` returns the user in the state of
// a run. The function `each` is the field Each of the steps. The first step starts after the steps in `after`.
func userSteps[S any](d Deps, of func(*S) account, each func(*S) []string, after ...string) []saga.Step[S] {
	checkName := func(ctx context.Context, s *S) error { return d.checkName(ctx, of(s)) }
	return []saga.Step[S]{
		{Name: "check-name", Each: each, After: after, Effect: saga.Checks, Do: checkName, NoUndo: "it only reads"},
		{
			Name: "create-user", Each: each, After: []string{"check-name"},
			Find:  func(ctx context.Context, s *S) (saga.Found, error) { return d.findUser(ctx, of(s)) },
			Claim: func(s *S, _ string) string { u := of(s); return ClaimUser(u.cloud, u.domain, u.Name) },
			Do:    func(ctx context.Context, s *S) error { return d.createUser(ctx, of(s)) },
			Undo:  func(ctx context.Context, s *S) error { return d.removeUser(ctx, of(s)) },
		},
		// Another merchant or another installation may have created a user with a similar name since the step `check-name`.
		{Name: "check-twins", Each: each, After: []string{"create-user"}, Effect: saga.Checks, Do: checkName, NoUndo: "it only reads"},
	}
}

// errUserExists returns the reason why a user with this name cannot be created.
func errUserExists(name string, other keystone.User) *AdmissionError {
	detail := "a user with this name exists already"
	if other.Name != name && other.Name != "" {
		detail = "another user has a name that differs only in upper and lower case"
	}
	return refuse(CodeUserExists, saga.FixByUser, detail)
}

// The function `nameFree` returns an error if a user exists with the same name, or with a name that differs only in case. The user whom this
// run has created does not count. If Keystone does not show all users, nameFree looks only for a user with exactly this name.
func nameFree(ctx context.Context, id keystone.Identity, u account) error {
	other, err := id.SimilarUser(ctx, u.domain, u.Name)
	if errors.Is(err, keystone.ErrCut) {
		other, err = id.FindUser(ctx, u.domain, u.Name)
	}
	switch {
	case errors.Is(err, keystone.ErrNotFound), err == nil && u.run != "" && other.RunID == u.run:
		return nil
	case err != nil:
		return err
	}
	return errUserExists(u.Name, other)
}

// checkName fails if the name is taken: see nameFree.
func (d Deps) checkName(ctx context.Context, u account) error {
	id, err := d.Identity(u.cloud)
	if err != nil {
		return err
	}
	err = nameFree(ctx, id, u)
	if refused, ok := errors.AsType[*AdmissionError](err); ok {
		return refused.asStep()
	}
	return err
}

// findUser looks the user up by name.
func (d Deps) findUser(ctx context.Context, u account) (saga.Found, error) {
	id, err := d.Identity(u.cloud)
	if err != nil {
		return saga.Absent, err
	}
	found, err := id.FindUser(ctx, u.domain, u.Name)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	case found.RunID != u.run:
		return saga.Foreign, errUserExists(u.Name, found).asStep()
	}
	u.made(ctx, found)
	return saga.Made, nil
}

// createUser creates the user with the password. If the answer to an earlier attempt was lost, the user may exist already, perhaps with an
// older password of the caller. In this case, a later step sets the password.
func (d Deps) createUser(ctx context.Context, u account) error {
	id, err := d.Identity(u.cloud)
	if err != nil {
		return err
	}
	password, err := saga.CallOf(ctx).Password()
	if err != nil {
		return err
	}
	found, made, passwordSet, err := id.EnsureUser(ctx, keystone.NewUser{
		Name: u.Name, DomainID: u.domain, Email: u.Email, Password: password, RunID: u.run,
	})
	if err == nil && !made || errors.Is(err, keystone.ErrConflict) { // on MySQL, names that differ only in accents conflict
		return errUserExists(u.Name, found).asStep()
	}
	if err != nil {
		return err
	}
	*u.password = PasswordState{passwordSet, saga.CallOf(ctx).Handed}
	u.made(ctx, found)
	return nil
}

// The method `made` records the user whom the run has created.
func (u account) made(ctx context.Context, found keystone.User) {
	*u.id = found.ID
	call := saga.CallOf(ctx)
	call.ForUser(found.ID)
	call.Made(saga.Object{Kind: "user", Cloud: u.cloud, ID: found.ID, Name: found.Name, Origin: saga.Own})
}

// removeUser removes the user if this run created the user, unless the user is in use: see [keystone.Users].
func (d Deps) removeUser(ctx context.Context, u account) error {
	id, err := d.Identity(u.cloud)
	if err != nil {
		return err
	}
	removed, kept, err := id.RemoveUser(ctx, u.domain, u.Name, u.run)
	if kept != "" {
		saga.CallOf(ctx).Keep(kept)
	}
	return recordRemoval(ctx, "user", removed.ID, removed.ID != "", err)
}

// setPassword sets the password of the user that the run has created or found.
func (d Deps) setPassword(ctx context.Context, u account) error {
	id, err := d.Identity(u.cloud)
	if err != nil {
		return err
	}
	password, err := saga.CallOf(ctx).Password()
	if err != nil {
		return err
	}
	return u.set(ctx, id, password)
}

// The method `set` sets the user's password.
func (u account) set(ctx context.Context, id keystone.Identity, password string) error {
	err := id.SetPassword(ctx, *u.id, password)
	if errors.Is(err, keystone.ErrNotFound) {
		return errUserGone
	}
	if err == nil {
		*u.password = PasswordState{true, saga.CallOf(ctx).Handed}
	}
	return err
}

// errUserGone means that somebody has deleted the user whom the run has created.
var errUserGone = StepError{upstream.Permanent, "user-gone", "the user was deleted during the run", saga.FixByMerchant}

// logInUser logs in the user whom the run has created, and keeps the token for the later steps of the run. If the user does not have the
// password that the caller has sent last, logInUser first sets this password.
func (d Deps) logInUser(ctx context.Context, u account) error {
	id, err := d.Identity(u.cloud)
	if err != nil {
		return err
	}
	call := saga.CallOf(ctx)
	password, err := call.Password()
	if err != nil {
		return err
	}
	if !u.password.PasswordSet || u.password.PasswordHanded != call.Handed {
		if err := u.set(ctx, id, password); err != nil {
			return err
		}
	}
	token, err := logIn(ctx, id, u.domain, u.Name, password)
	switch {
	case err != nil:
		return err
	case token.UserID != *u.id:
		return errUserGone
	}
	call.KeepToken(token.ID)
	return nil
}

// expectUser returns the user who should exist when a run has succeeded. The list is empty until a step has stored the user's id.
func (u account) expectUser() []saga.Expected {
	if *u.id == "" {
		return nil
	}
	return []saga.Expected{{
		Object: saga.Object{Step: "create-user", Kind: "user", Cloud: u.cloud, ID: *u.id, Name: u.Name, Origin: saga.Own},
		Fields: map[string]string{"domain_id": u.domain},
	}}
}

// errPasswordNotStored refuses to repeat a run that creates a user, because the password is not stored.
var errPasswordNotStored = &saga.RetryRefusedError{
	Code: "password-missing", FixBy: saga.FixByMerchant,
	Detail: "Tenantry has not stored the password: the portal must send the request again, with a new key",
}
