package doctor

import (
	"context"
	"errors"
	"io/fs"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// The function `portals` checks that each portal's merchant can sell: the merchant is enabled and may register users, and the API key is accepted.
func portals(ctx context.Context, x *examination) []Line {
	if x.Portals == "" {
		return []Line{ok("no portals")}
	}
	sites, err := service.ReadPortals(x.Portals)
	if err != nil {
		var lines []Line
		for _, one := range split(err) {
			fix := instruction("correct the file; docs/portal.md describes it")
			if errors.Is(one, fs.ErrNotExist) || errors.Is(one, fs.ErrPermission) {
				fix = instruction("create the file and allow the user of the service to read it; docs/portal.md describes the files")
			}
			lines = append(lines, fail(fix, "%v", one))
		}
		return lines
	}
	if x.store == nil || x.schema.Version != x.schema.Release {
		return []Line{skipped("%s has %d portals; their API keys were not checked, because the database does not have the schema of this release",
			x.Portals, len(sites))}
	}
	var lines []Line
	for _, s := range sites {
		key, m, err := x.store.Merchants().Key(ctx, s.Key)
		switch {
		case err == nil && m.ID != s.Merchant:
			lines = append(lines, fail(instruction("write an API key of this merchant into the file; docs/portal.md describes it"),
				"the API key in the portal of merchant %s belongs to another merchant", s.Merchant))
		case errors.Is(err, merchants.ErrNotFound), err == nil && !key.Accepts(s.Secret):
			lines = append(lines, fail(instruction("create a key with `tenantry merchant rotate-key %s`, or register the merchant with `tenantry merchant"+
				" create %s --name NAME --sign-up`; write the key and its secret into the files of the portal", s.Merchant, s.Merchant),
				"the API key in the portal of merchant %s is not accepted", s.Merchant))
		case err != nil:
			lines = append(lines, fail(instruction("see the result of the check \"database\""), "reading the API key of merchant %s: %v", s.Merchant, err))
		case m.DisabledAt != nil:
			lines = append(lines, warn(command("tenantry", "merchant", "enable", s.Merchant), "merchant %s is disabled, so its portal is closed", s.Merchant))
		case !m.SignUp:
			lines = append(lines, fail(command("tenantry", "merchant", "update", s.Merchant, "--sign-up=true"),
				"merchant %s may neither register users nor log users in, so nobody can use its portal", s.Merchant))
		}
	}
	return orOK(lines, "%d portals can be used", len(sites))
}
