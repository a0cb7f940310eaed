package conn

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// checkNewPassword returns an error if the password is empty or contains a control character. Keystone would let the user log in with an
// empty password. If a password contains the character NUL, Keystone 22 closes the connection without an answer, like a Keystone that is
// down.
func checkNewPassword(op, password string) error {
	message := "the password contains a control character"
	switch {
	case password == "":
		message = "the password is empty"
	case !keystone.HasControl(password):
		return nil
	}
	return &upstream.Error{
		Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrPasswordRefused, Message: message,
	}
}

// CheckLogin returns an error if no user can have this name or password. Keystone 22 would close the connection without an answer: see
// checkNewPassword.
func CheckLogin(op, name, password string) error {
	if !keystone.HasControl(name) && !keystone.HasControl(password) {
		return nil
	}
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Err: keystone.ErrWrongLogin}
}

// checkUserName returns an error if Keystone refuses the name of a new user, or would store another name: Keystone removes blanks at the
// ends of a name.
func checkUserName(op, name string) error {
	if n := utf8.RuneCountInString(name); n > 0 && n <= 255 && utf8.ValidString(name) && strings.TrimSpace(name) == name &&
		!keystone.HasControl(name) {
		return nil
	}
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: op, Message: "the name cannot be used for a user: " +
		"use 1 to 255 characters, without control characters, and without blanks at the beginning and the end"}
}

// ofPassword returns the error of a request that sets a password. If Keystone refused the password, the error wraps
// [keystone.ErrPasswordRefused].
//
// Keystone 22 has two answers for a refused password. One has status 400 and the message "The password does not match the requirements:
// TEXT.", in which TEXT is the option password_regex_description, or "None". The other has status 403 and the message "The password length
// must be less than or equal to N. ...". ofPassword compares the beginnings of these messages. The messages about other fields can contain
// the word "password", too, because they quote the schema of a user.
func ofPassword(err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Class != upstream.Permanent ||
		(e.Status != http.StatusBadRequest || !strings.HasPrefix(e.Message, "The password does not match the requirements: ")) &&
			(e.Status != http.StatusForbidden || !strings.HasPrefix(e.Message, "The password length must be ")) {
		return err
	}
	refused := *e
	refused.Err = keystone.ErrPasswordRefused
	return &refused
}

// SetPassword checks the arguments of [keystone.Users.SetPassword], and calls `send` to send the request.
func SetPassword(ctx context.Context, c *Conn, userID, password string, send func(context.Context) error) error {
	op := "setting the password of user " + userID
	if err := CheckIDs("setting a password", userID); err != nil {
		return err
	}
	if err := checkNewPassword(op, password); err != nil {
		return err
	}
	return ofPassword(c.Do(ctx, Write, op, send, password))
}

// PasswordExpires reports whether a new password expires at once. The parameter is the field password_expires_at of a new user, and may be
// empty.
//
// If Keystone 22 has the option change_password_upon_first_use, the password of a new user expires at once. The user's option
// ignore_change_password_upon_first_use does not prevent this, because Keystone reads the user's option before it has stored the option.
// For later passwords, the user's option is effective. A password that expires because of password_expires_days is valid for at least one
// day. The margin of twelve hours allows for clocks that differ.
func PasswordExpires(at string) bool {
	expiry, err := time.Parse("2006-01-02T15:04:05.999999", strings.TrimSuffix(at, "Z"))
	return err == nil && time.Until(expiry) < 12*time.Hour
}

// Attribute is an additional attribute of a user. Keystone stores additional attributes of any type; an Attribute is empty if the value is
// not a text.
type Attribute string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *Attribute) UnmarshalJSON(value []byte) error {
	var text string
	if json.Unmarshal(value, &text) != nil {
		text = ""
	}
	*a = Attribute(text)
	return nil
}

// LikeName adds filters to the query for a list of users. Keystone then lists all users whose folded name is equal to the folded name, and
// perhaps other users. The filters contain only the beginning and the end of the name: the characters before the first and after the last
// unsafe character. Letters outside ASCII are unsafe, because SQLite does not ignore their case. The characters "_" and "%" are unsafe,
// because they are wildcards that Keystone does not escape. The backslash is unsafe, because PostgreSQL and MySQL read it as an escape
// character. LikeName treats some more characters as unsafe.
func LikeName(query url.Values, name string) {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@.-+ ", r)
	}
	other := func(r rune) bool { return !plain(r) }
	begin, end := name, name
	if i := strings.IndexFunc(name, other); i >= 0 {
		begin = name[:i]
		end = strings.TrimLeftFunc(name[strings.LastIndexFunc(name, other):], other)
	}
	if begin != "" {
		query.Set("name__istartswith", begin)
	}
	if end != "" {
		query.Set("name__iendswith", end)
	}
}

// Similar collects the users whose folded name is equal to the folded Name: see [keystone.Users.SimilarUser].
type Similar struct {
	DomainID, Name string

	found *keystone.User
}

// See adds a user from a list.
func (s *Similar) See(u keystone.User) {
	if u.DomainID == s.DomainID && keystone.FoldedName(u.Name) == keystone.FoldedName(s.Name) && (s.found == nil || u.Name != s.Name) {
		s.found = &u
	}
}

// Result returns the result of SimilarUser. The parameter `cut` reports whether Keystone has cut the list of users, and `err` is the error of
// reading the list.
func (s *Similar) Result(op string, cut bool, err error) (keystone.User, error) {
	switch {
	case err != nil:
		return keystone.User{}, err
	case s.found != nil:
		return *s.found, nil
	case cut:
		return keystone.User{}, ErrCut(op)
	}
	return keystone.User{}, NotFound(op)
}

// RequiredMethods returns the combinations of login methods in Keystone's answer to a login that needs another method. RequiredMethods
// returns at most 10 combinations of at most 10 methods, and omits malformed names of methods.
func RequiredMethods(body []byte) (all [][]string) {
	var answer struct {
		Methods [][]string `json:"required_auth_methods"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	for _, methods := range answer.Methods[:min(len(answer.Methods), 10)] {
		var clean []string
		for _, m := range methods[:min(len(methods), 10)] {
			if keystone.ValidID(m) {
				clean = append(clean, upstream.Clean(m))
			}
		}
		all = append(all, clean)
	}
	return all
}

// Account contains the requests of one Identity version that [Account.EnsureUser] and [Account.RemoveUser] use.
type Account struct {
	// The result `usable` of Create reports whether the user can log in with the password.
	Create func(ctx context.Context, n keystone.NewUser) (u keystone.User, usable bool, err error)
	Find   func(ctx context.Context, domainID, name string) (keystone.User, error)
	// InUse returns the reason why the user is in use, or an empty reason. InUse is nil if Keystone does not show whether a user is in use.
	InUse  func(ctx context.Context, u keystone.User) (string, error)
	Delete func(ctx context.Context, u keystone.User) error
}

// EnsureUser implements [keystone.Users].
func (a Account) EnsureUser(ctx context.Context, n keystone.NewUser) (u keystone.User, made, passwordSet bool, err error) {
	const op = "creating a user"
	if err = checkUserName(op, n.Name); err == nil {
		err = checkNewPassword(op, n.Password)
	}
	if err != nil {
		return u, false, false, err
	}
	u, usable, err := a.Create(ctx, n)
	if !errors.Is(err, keystone.ErrConflict) {
		return u, err == nil, err == nil && usable, ofPassword(err)
	}
	u, lookup := a.Find(ctx, n.DomainID, n.Name)
	if errors.Is(lookup, keystone.ErrNotFound) {
		return u, false, false, err
	}
	return u, lookup == nil && n.RunID != "" && u.RunID == n.RunID, false, lookup
}

// RemoveUser implements [keystone.Users].
func (a Account) RemoveUser(ctx context.Context, domainID, name, runID string) (removed keystone.User, kept string, err error) {
	found, err := a.Find(ctx, domainID, name)
	if err == nil && (runID == "" || found.RunID != runID) {
		return removed, "", nil
	}
	if err == nil && a.InUse != nil {
		kept, err = a.InUse(ctx, found)
	}
	if err == nil && kept == "" {
		err = a.Delete(ctx, found)
	}
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return removed, "", nil
	case err != nil:
		return removed, "", err
	case kept != "":
		return removed, kept, nil
	}
	return found, "", nil
}
