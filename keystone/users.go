package keystone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/cases"
)

// Errors of [Users].
var (
	// ErrPasswordRefused means that a new password breaks a rule of Keystone. The Message of the error contains Keystone's rule.
	ErrPasswordRefused = errors.New("the password breaks a rule of Keystone")
	// ErrWrongLogin means that the name or the password is wrong, or that the user is disabled or locked. Keystone does not tell these
	// cases apart.
	ErrWrongLogin = errors.New("name or password is wrong, or the user is disabled or locked")
	// ErrPasswordExpired means that name and password are right, but the password has expired, or must be changed at its first use.
	ErrPasswordExpired = errors.New("the password has expired, or must be changed")
)

// SecondFactorError means that name and password are right, but the user must also use another login method.
type SecondFactorError struct {
	// Receipt proves to Keystone that the password was right: a client sends it in the header Openstack-Auth-Receipt of the next login. A
	// receipt is a secret.
	Receipt string
	// Methods contains combinations of login methods, such as ["password", "totp"]. The user needs one of these combinations.
	Methods [][]string
}

// Error contains no secret.
func (e *SecondFactorError) Error() string {
	var all []string
	for _, methods := range e.Methods {
		all = append(all, strings.Join(methods, " and "))
	}
	if len(all) == 0 { // Keystone omits the combinations that do not contain the password
		return "the user needs another login method"
	}
	return "the user needs another login method: " + strings.Join(all, ", or ")
}

// Format prints the result of Error for every verb, so that no verb prints the receipt.
func (e *SecondFactorError) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, e.Error()) }

// FoldedName returns the form of a user's name that is equal for names that differ only in case. Unless its database is MySQL, Keystone
// allows several users whose names differ only in case. A person would mistake one of these users for another.
//
// FoldedName does not replace a character that Unicode folds to ASCII letters, such as "ß" or the Kelvin sign. If a filter contains the ASCII
// letters, Keystone does not list a name with such a character, so SimilarUser could not find the name.
func FoldedName(name string) string {
	fold := cases.Fold()
	var folded strings.Builder
	for _, r := range name {
		if r <= unicode.MaxASCII {
			folded.WriteRune(unicode.ToLower(r))
			continue
		}
		form := fold.String(string(r))
		if strings.ContainsFunc(form, func(r rune) bool { return r <= unicode.MaxASCII }) {
			form = string(r)
		}
		folded.WriteString(form)
	}
	return folded.String()
}

// HasControl reports whether the text contains a control character, such as NUL.
func HasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }

// RunAttribute is the attribute that marks a user whom Tenantry has created. Its value is the id of the run that created the user. Users
// have no tags, but Keystone stores and shows additional attributes.
const RunAttribute = "tenantry_run"

// Users creates users and logs them in. Tenantry changes and removes only users whom it has created itself: see [User.RunID].
type Users interface {
	// FindUser returns the user with exactly this name in the domain, or ErrNotFound if the domain has no such user. On MySQL, Keystone
	// ignores the case of names, so FindUser compares the name that Keystone returns.
	FindUser(ctx context.Context, domainID, name string) (User, error)

	// SimilarUser returns a user of the domain whose folded name is equal to the folded given name: see [FoldedName]. If there are several
	// such users, SimilarUser prefers a user whose name is spelled differently. SimilarUser returns ErrNotFound if there is no
	// such user. SimilarUser returns ErrCut if it finds no such user in a list that Keystone has cut.
	SimilarUser(ctx context.Context, domainID, name string) (User, error)

	// EnsureUser creates an enabled user, or returns the existing user with the same name and domain. The result `made` is true if this
	// call, or an earlier call with the same n.RunID, created the user. The result `passwordSet` is true if this call created the user, and
	// the user can log in with n.Password. EnsureUser sends one request, and a second request if the name is taken. If the second request
	// finds no user with exactly this name, EnsureUser returns ErrConflict.
	//
	// If Keystone has the option change_password_upon_first_use, the password of a new user has already expired. In this case, EnsureUser
	// returns passwordSet = false. If SetPassword sets a password afterwards, the user need not change this password. Identity v2.0 does not
	// show whether a password has expired, so passwordSet is always false with Identity v2.0.
	//
	// EnsureUser returns ErrPasswordRefused if the password is empty or breaks a rule of Keystone. If the name is malformed or the password is
	// empty, EnsureUser returns an error and sends no request. No error contains the password.
	EnsureUser(ctx context.Context, n NewUser) (u User, made, passwordSet bool, err error)

	// SetPassword sets the password of the user with this id. SetPassword may be repeated. The user's tokens become invalid, even if the
	// password is the same as before. A token that is issued in the same second as the new password is invalid, too: Keystone counts in whole
	// seconds. SetPassword unlocks the user. The error wraps ErrGuard if Tenantry has not created the user, ErrNotFound if there is no such
	// user, and ErrPasswordRefused as for EnsureUser.
	SetPassword(ctx context.Context, userID, password string) error

	// RemoveUser deletes the user with this name and domain if the run with the id runID has created the user. RemoveUser may be repeated.
	// If the run has not created the user, or if there is no such user, RemoveUser succeeds and returns an empty user.
	//
	// A user who has a role assignment or is in a group is in use. If the user is in use, RemoveUser removes nothing, and the result `kept` is
	// the reason. If RemoveUser returns an error, `kept` is empty. Identity v2.0 shows neither the groups nor all role assignments of a user.
	// With this version, RemoveUser therefore also removes a user who is in use.
	RemoveUser(ctx context.Context, domainID, name, runID string) (removed User, kept string, err error)

	// LogIn logs in a user with name and password, and returns an unscoped token. LogIn does not use Tenantry's own credential, and every
	// call logs in again. LogIn returns ErrWrongLogin, ErrPasswordExpired or *SecondFactorError if Keystone refuses the login. Identity v2.0
	// does not apply the rules for multi-factor logins. No text of an error contains the password or the receipt.
	LogIn(ctx context.Context, domainID, name, password string) (UserToken, error)
}

// NewUser describes a user to create. If a NewUser is printed, the password is masked.
type NewUser struct {
	// Name has 1 to 255 characters and no control characters, and does not begin or end with a blank.
	Name     string
	DomainID string
	Email    string // may be empty
	Password string
	RunID    string // the id of the run that creates the user
}

// String describes the user without the password.
func (n NewUser) String() string { return fmt.Sprintf("user %q in domain %s", n.Name, n.DomainID) }

// GoString returns the result of String, so that the verb %#v does not print the password.
func (n NewUser) GoString() string { return n.String() }

// Format prints the result of String for every verb.
func (n NewUser) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, n.String()) }

// UserToken is an unscoped token of a user. The ID of the token is a secret. If a UserToken is printed or encoded, the ID is masked.
type UserToken struct {
	ID        string
	UserID    string
	UserName  string
	ExpiresAt time.Time
}

// String describes the token without its ID.
func (t UserToken) String() string {
	return fmt.Sprintf("token %s of user %s, expires %s", masked, t.UserID, t.ExpiresAt.UTC().Format(time.RFC3339))
}

// GoString returns the result of String, so that the verb %#v does not print the ID.
func (t UserToken) GoString() string { return t.String() }

// Format prints the result of String for every verb.
func (t UserToken) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, t.String()) }

// MarshalJSON encodes the token without its ID.
func (t UserToken) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID        string    `json:"id"`
		UserID    string    `json:"user_id"`
		UserName  string    `json:"user_name"`
		ExpiresAt time.Time `json:"expires_at"`
	}{masked, t.UserID, t.UserName, t.ExpiresAt})
}
