package keystonetest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// PasswordRules are settings of Keystone about passwords and logins. The zero value is Keystone's default: no rules.
//
// The answers are the same as the answers of Keystone 22 with these settings. The rules for new passwords do not apply to the passwords
// of the user "admin" and of users that AddUser adds.
type PasswordRules struct {
	// Regex is the option password_regex in the section [security_compliance] of keystone.conf. As in Keystone, it applies to the beginning
	// of the password. It does not apply in logins.
	Regex *regexp.Regexp
	// Description is the option password_regex_description. If a password does not match Regex, Keystone sends this text to the client.
	Description string
	// MaxBytes is the maximum length of a password, as in a Keystone with the options strict_password_check and max_password_length. Zero
	// means no limit.
	MaxBytes int
	// ChangeUponFirstUse is the option change_password_upon_first_use: a new password has already expired. If the user has the option
	// ignore_change_password_upon_first_use, this does not apply to passwords that are set after the user was created. It still applies to the
	// password with which the user is created, as in Keystone 22.
	ChangeUponFirstUse bool
	// LockoutAttempts is the option lockout_failure_attempts: the number of logins with a wrong password after which the user is locked. Zero
	// means that users are never locked. Every change of an enabled user unlocks the user.
	LockoutAttempts int
	// LockoutDuration is the option lockout_duration. Zero means that the lock does not end.
	LockoutDuration time.Duration
}

// ExpirePassword lets the user's password expire.
func (k *Keystone) ExpirePassword(userID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u := k.users.get(userID); u != nil {
		k.updateUser(u, func(u *user) { u.expires = k.now().UTC() })
	}
}

// refusesPassword returns an error if a rule forbids the password. Keystone sends the same error for new and for existing users.
func (k *Keystone) refusesPassword(password any) error {
	text, given := password.(string)
	switch regex := k.rules.Regex; {
	case !given:
	case regex != nil && !beginsWith(regex, text):
		description := k.rules.Description
		if description == "" {
			description = "None"
		}
		return badRequest("The password does not match the requirements: %s.", description)
	default:
		return k.refusesLength(text)
	}
	return nil
}

func beginsWith(regex *regexp.Regexp, text string) bool {
	at := regex.FindStringIndex(text)
	return at != nil && at[0] == 0
}

// refusesLength returns an error if the password is too long. Keystone sends the same error if a login contains such a password.
func (k *Keystone) refusesLength(password string) error {
	if k.rules.MaxBytes == 0 || len(password) <= k.rules.MaxBytes {
		return nil
	}
	return fault{status: http.StatusForbidden, message: fmt.Sprintf("The password length must be less than or equal to %d. "+
		"The server could not comply with the request because the password is invalid.", k.rules.MaxBytes)}
}

// setPassword sets the password of a new user or of a copy of a stored user. The parameter `exempt` reports whether Keystone heeds the user's
// option ignore_change_password_upon_first_use.
func (k *Keystone) setPassword(u *user, password string, exempt bool) {
	u.password, u.expires = password, time.Time{}
	if k.rules.ChangeUponFirstUse && password != "" && (!exempt || u.options["ignore_change_password_upon_first_use"] != true) {
		u.expires = k.now().UTC()
	}
}

// The method `checked` returns an error unless the password in a login is the user's password. Keystone sends the same answer if the user
// does not exist, is disabled or is locked, or if the password is wrong.
func (k *Keystone) checked(u *user, password any) error {
	text, _ := password.(string)
	if u == nil || !u.enabled || !k.domain(u.domain).enabled || k.lockedOut(u) {
		return unauthorized
	}
	if err := k.refusesLength(text); err != nil {
		return err
	}
	if u.password == "" || text != u.password {
		k.updateUser(u, func(u *user) { u.failures, u.failedAt = u.failures+1, k.now() })
		return unauthorized
	}
	if !u.expires.IsZero() && !k.now().Before(u.expires) {
		return fault{
			status:  http.StatusUnauthorized,
			message: "The password is expired and needs to be changed for user: " + u.id + ".",
		}
	}
	if u.failures > 0 {
		k.updateUser(u, func(u *user) { u.failures = 0 })
	}
	return nil
}

func (k *Keystone) lockedOut(u *user) bool {
	if k.rules.LockoutAttempts == 0 || u.failures < k.rules.LockoutAttempts || u.options["ignore_lockout_failure_attempts"] == true {
		return false
	}
	return k.rules.LockoutDuration == 0 || k.now().Before(u.failedAt.Add(k.rules.LockoutDuration))
}

// loadedMethods are the login methods that Keystone has by default. Keystone ignores all other methods in the rules of a user.
var loadedMethods = []string{"application_credential", "external", "mapped", "oauth1", "password", "token"}

// missingMethods returns the combinations of login methods that the user's rules require. The result `missing` is true if the
// login lacks at least one method of each combination. As in Keystone 22, each combination in `required` has a method that the login has
// used.
func (u *user) missingMethods(used []string) (required [][]string, missing bool) {
	rules, _ := u.options["multi_factor_auth_rules"].([]any)
	if len(rules) == 0 || u.options["multi_factor_auth_enabled"] == false {
		return nil, false
	}
	required = [][]string{}
	for _, rule := range rules {
		var all, absent []string
		methods, _ := rule.([]any)
		for _, m := range methods {
			method, _ := m.(string)
			if !slices.Contains(loadedMethods, method) {
				continue
			}
			if all = append(all, method); !slices.Contains(used, method) {
				absent = append(absent, method)
			}
		}
		if len(absent) == 0 {
			return nil, false
		}
		if len(absent) < len(all) {
			required = append(required, all)
		}
	}
	return required, true
}

// The method `receipt` answers a login that lacks a method. The header of the answer contains the receipt. Unlike other answers with the
// status 401, the answer has no WWW-Authenticate header.
func (k *Keystone) receipt(c call, t *token, required [][]string) (int, any, error) {
	const layout = "2006-01-02T15:04:05.000000Z"
	now, u := k.now().UTC().Truncate(time.Second), k.users.get(t.user)
	c.header.Set("Openstack-Auth-Receipt", "gAAAAAB"+k.randomText(117))
	return http.StatusUnauthorized, object{
		"receipt": object{
			"methods":   t.methods,
			"user":      object{"id": u.id, "name": u.name, "domain": k.shortDomain(u.domain)},
			"issued_at": now.Format(layout), "expires_at": now.Add(5 * time.Minute).Format(layout),
		},
		"required_auth_methods": required,
	}, nil
}
