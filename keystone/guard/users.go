package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The paths of users, and the name of a single user in a body, are the same in all versions of the Identity API.
const (
	users   = "users"
	oneUser = "user"
)

// checkUser checks a write to a user. Tenantry may create a user with its mark in a domain for which MaySignUp returns true. In such a
// domain, Tenantry may set the password of a user with the mark, and delete the user. Before each change or deletion, the guard reads the
// user. Keystone has no conditional writes, so somebody could remove the mark between the read and the write. The mark is the attribute
// [keystone.RunAttribute].
func (g *guard) checkUser(req *http.Request, path []string) (*http.Response, error) {
	switch {
	case len(path) == 1 && req.Method == http.MethodPost:
		u, err := contentOf(req, oneUser)
		if err != nil {
			return nil, err
		}
		if !g.isOwnUser(u) || !within(slices.Collect(maps.Keys(u)), g.Dialect.mayCreateUser) || !harmless(u["options"]) {
			return nil, blocked(fmt.Sprintf("creating user %q in domain %q", upstream.Clean(text(u["name"])), upstream.Clean(g.Dialect.userDomain(u))))
		}
		return nil, nil
	case len(path) == 2 && req.Method == g.Dialect.update:
		u, err := contentOf(req, oneUser)
		if err != nil {
			return nil, err
		}
		if !within(slices.Collect(maps.Keys(u)), []string{"password"}) {
			return nil, blocked("changing a user: only the password may be changed")
		}
	case len(path) == 2 && req.Method == http.MethodDelete:
	default:
		return nil, blocked(req.Method + " " + req.URL.Path)
	}
	resp, err := g.read(req, users, path[1])
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	var answer map[string]map[string]any
	if err != nil || json.Unmarshal(body, &answer) != nil || text(answer[oneUser]["id"]) != path[1] {
		return nil, &upstream.Error{
			Service: keystone.Service, Class: upstream.Transient, Op: "reading user " + path[1], Err: errors.Join(errNoUser, err),
		}
	}
	if !g.isOwnUser(answer[oneUser]) && (req.Method != http.MethodDelete || !g.mayDelete(answer[oneUser])) {
		return nil, blocked(fmt.Sprintf("%s on user %s", req.Method, path[1]))
	}
	return nil, nil
}

// errNoUser means that a successful answer does not contain the requested user.
var errNoUser = errors.New("the answer does not contain the requested user")

func (g *guard) isOwnUser(u map[string]any) bool {
	domain := g.Dialect.userDomain(u)
	return text(u[keystone.RunAttribute]) != "" && domain != "" && g.MaySignUp != nil && g.MaySignUp(domain)
}

// mayDelete reports whether Tenantry may delete the user: the user has the mark, and is in a domain in which Tenantry may write. A run may
// have to undo a registration after sign-up was switched off for the merchant.
func (g *guard) mayDelete(u map[string]any) bool {
	domain := g.Dialect.userDomain(u)
	return text(u[keystone.RunAttribute]) != "" && domain != "" && g.MayWriteDomain != nil && g.MayWriteDomain(domain)
}

// The function `harmless` reports whether the options of a new user are absent, or contain only the option that lets the user keep the
// first password. Other options could exempt the user from rules of the cloud. For example, the user could then never be locked.
func harmless(options any) bool {
	set, ok := options.(map[string]any)
	return options == nil || ok && len(set) == 1 && set["ignore_change_password_upon_first_use"] == true
}
