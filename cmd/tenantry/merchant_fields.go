package main

import (
	"cmp"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// merchantFields has the values of the flags that set a merchant's settings.
type merchantFields struct {
	name, cloud, domain              string
	customerRoles, subscriptionRoles string
	onFailure                        string
	adoptUnmarked, signUp            bool
	maxLiveRuns                      int
}

func merchantFlags(c *cobra.Command) *merchantFields {
	f := &merchantFields{}
	flags := c.Flags()
	flags.StringVar(&f.name, "name", "", "name, 1 to 60 characters")
	flags.StringVar(&f.cloud, "cloud", merchants.DefaultCloud, "cloud of the users: the name of an entry of clouds.yaml, or \"default\" for the cloud that OS_* variables describe")
	flags.StringVar(&f.domain, "domain", "", "name or id of the Keystone domain of users and tenants; empty means TENANTRY_DOMAIN")
	flags.StringVar(&f.customerRoles, "customer-roles", "", "roles of users on customer tenants, separated by commas; empty means TENANTRY_CUSTOMER_ROLES")
	flags.StringVar(&f.subscriptionRoles, "subscription-roles", "", "roles of users on subscription tenants, separated by commas; empty means TENANTRY_SUBSCRIPTION_ROLES")
	flags.StringVar(&f.onFailure, "on-failure", merchants.Compensate, "action for a failed run: compensate, or hold until an operator decides")
	flags.BoolVar(&f.adoptUnmarked, "adopt-unmarked", false, "use existing tenants that lack the merchant's tag")
	flags.BoolVar(&f.signUp, "sign-up", false, "let the portal register users in the domain, and log users in with their passwords")
	flags.IntVar(&f.maxLiveRuns, "max-live-runs", 0, "maximum number of runs in progress, 1 to 1000000; 0 means TENANTRY_MAX_LIVE_RUNS")
	return f
}

// The method `apply` sets a field of m if its flag is on the command line.
func (f *merchantFields) apply(cmd *cobra.Command, c Config, m *merchants.Merchant) error {
	given := cmd.Flags().Changed
	if given("name") {
		if f.name != strings.TrimSpace(f.name) || f.name == "" || utf8.RuneCountInString(f.name) > 60 ||
			strings.ContainsFunc(f.name, func(r rune) bool { return unicode.IsControl(r) || r > 0xFFFF || r == utf8.RuneError }) {
			return usage("--name: must be 1 to 60 characters, with no blanks at the ends, no control characters and no emoji")
		}
		m.Name = f.name
	}
	if given("cloud") {
		m.Cloud = cmp.Or(f.cloud, merchants.DefaultCloud)
	}
	if given("domain") {
		if _, err := text.parse(f.domain); err != nil {
			return usage("--domain: %w", err)
		}
		m.Domain = f.domain
	}
	if given("on-failure") {
		if f.onFailure != merchants.Compensate && f.onFailure != merchants.Hold {
			return usage("--on-failure: %q must be compensate or hold", f.onFailure)
		}
		m.OnFailure = f.onFailure
	}
	if given("adopt-unmarked") {
		m.AdoptUnmarked = f.adoptUnmarked
	}
	if given("sign-up") {
		m.SignUp = f.signUp
	}
	if given("max-live-runs") {
		if f.maxLiveRuns < 0 || f.maxLiveRuns > merchants.MaxLiveRuns {
			return usage("--max-live-runs: must be 0 to %d", merchants.MaxLiveRuns)
		}
		m.MaxLiveRuns = f.maxLiveRuns
	}
	if given("customer-roles") {
		list, err := allowedRoles(c, f.customerRoles)
		if err != nil {
			return usage("--customer-roles: %w", err)
		}
		m.CustomerRoles = list
	}
	if given("subscription-roles") {
		list, err := allowedRoles(c, f.subscriptionRoles)
		if err != nil {
			return usage("--subscription-roles: %w", err)
		}
		m.SubscriptionRoles = list
	}
	return nil
}

// allowedRoles splits a comma-separated list of roles. allowedRoles refuses the roles that users must not get. allowedRoles
// returns nil for an empty list, so that the configured roles apply.
func allowedRoles(c Config, list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names, err := roles.parse(list)
	if err != nil {
		return nil, err
	}
	if wrong := c.reserved(names); wrong != "" {
		return nil, errors.New(wrong)
	}
	return names, nil
}

func viewMerchant(m merchants.Merchant) client.Merchant {
	return client.Merchant{
		MerchantID: m.ID, Name: m.Name, Cloud: m.Cloud, Domain: m.Domain,
		CustomerRoles: append(client.Roles{}, m.CustomerRoles...), SubscriptionRoles: append(client.Roles{}, m.SubscriptionRoles...),
		OnFailure: client.OnFailure(m.OnFailure), AdoptUnmarked: m.AdoptUnmarked, SignUp: m.SignUp, MaxLiveRuns: m.MaxLiveRuns,
		CreatedAt: m.CreatedAt, DisabledAt: m.DisabledAt,
	}
}

func merchantTable(w io.Writer, all ...client.Merchant) {
	row(w, "MERCHANT", "NAME", "CLOUD", "DOMAIN", "ON FAILURE", "DISABLED")
	for _, m := range all {
		disabled := any("-")
		if m.DisabledAt != nil {
			disabled = m.DisabledAt.Format(timeLayout)
		}
		row(w, m.MerchantID, m.Name, m.Cloud, cmp.Or(m.Domain, "-"), m.OnFailure, disabled)
	}
}

const timeLayout = "2006-01-02 15:04:05Z07:00"
