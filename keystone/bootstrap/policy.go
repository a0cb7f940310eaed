package bootstrap

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Policy returns the rules that Keystone's policy needs for a service user of the kind [DomainManager]. The result is YAML for
// oslo.policy, and begins with a comment for the administrator of Keystone. A role that a policy cannot name is omitted, with a comment.
func Policy(s Setup) string {
	managed := []string{"manager", "member", "reader"} // Keystone's default
	var omitted []string
	for _, role := range s.UserRoles {
		switch {
		case !inPolicy(role):
			omitted = append(omitted, fmt.Sprintf("%+q", role)) // one line of ASCII
		case !slices.Contains(managed, role):
			managed = append(managed, role)
		}
	}
	checks := make([]string, len(managed))
	for i, role := range managed {
		checks[i] = "'" + role + "':%(target.role.name)s"
	}
	var b strings.Builder
	b.WriteString("# For a service user with --persona domain-manager: add these rules to policy.yaml beside keystone.conf on each host of Keystone.\n" +
		"# They allow the managers of a domain to assign these roles in their domain, and to read which role implies another role.\n" +
		"# The second rule needs enforce_scope = false in the section oslo_policy of keystone.conf.\n")
	if len(omitted) > 0 {
		fmt.Fprintf(&b, "# Roles that are left out, because a policy cannot name them: %s\n", strings.Join(omitted, ", "))
	}
	fmt.Fprintf(&b, "\"domain_managed_target_role\": \"%s\"\n", strings.Join(checks, " or "))
	b.WriteString(`"identity:list_role_inference_rules": "rule:admin_required or (role:reader and system_scope:all) or (role:manager and not domain_id:None)"` + "\n")
	return b.String()
}

var policyName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// inPolicy reports whether a rule of oslo.policy can name the role. The parser of oslo.policy splits a rule at blanks and parentheses,
// also inside of quotes.
func inPolicy(role string) bool { return policyName.MatchString(role) }
