package billing

import (
	"fmt"
	"regexp"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

var (
	canonicalID  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	currencyName = regexp.MustCompile(`^[a-z]{2,10}$`)
)

// ValidID reports whether id is a UUID in lower case with hyphens. BillingStack finds objects only by ids in this form.
func ValidID(id string) bool { return canonicalID.MatchString(id) }

// checkIDs refuses invalid ids before the client puts them into a URL. If there is only one customer, a DELETE with an empty id
// makes the original BillingStack delete this customer.
func checkIDs(op string, ids ...namedID) error {
	for _, one := range ids {
		if !ValidID(one.id) {
			return invalid(op, "%s id %q is not a lower-case uuid", one.of, upstream.Clean(one.id))
		}
	}
	return nil
}

type namedID struct{ of, id string }

func checkName(op, name string) error {
	if !currencyName.MatchString(name) {
		return invalid(op, "name %q must be 2 to 10 lower-case letters", upstream.Clean(name))
	}
	return nil
}

func invalid(op, format string, args ...any) error {
	return &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Message: fmt.Sprintf(format, args...), Err: ErrInvalid}
}
