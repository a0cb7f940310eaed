package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// maxPowers is the maximum number of role assignments that the report names.
const maxPowers = 20

// blastRadius reports the rights that the service's credential has, and that Tenantry does not need.
func blastRadius(ctx context.Context, x *examination) []Line {
	names := map[string]string{}
	for _, r := range x.holder.Roles {
		names[r.ID] = r.Name
	}
	if all, err := x.cloud.AllRoles(ctx); err == nil {
		for _, r := range all {
			names[r.ID] = r.Name
		}
	}
	var admin, unused []keystone.Power
	more := 0
	err := x.cloud.EachPower(ctx, x.holder, func(p keystone.Power) {
		of := &unused
		switch {
		case keystone.IsAdminRole(names[p.RoleID]):
			of = &admin
		case x.inScope(p):
			return
		}
		if len(*of) == maxPowers {
			more++
			return
		}
		*of = append(*of, p)
	})
	if err != nil {
		return []Line{skipped("not assessed: %s", service.Reason(err))}
	}
	var lines []Line
	for _, p := range admin {
		lines = append(lines, everything("the user has the role admin on %s", x.place(ctx, p)))
	}
	// The token also has the roles that the assigned roles imply.
	if len(admin) == 0 && slices.ContainsFunc(x.holder.Roles, func(r keystone.Role) bool { return keystone.IsAdminRole(r.Name) }) {
		lines = append(lines, everything("the user has the role admin on %s, because another role of the user implies it", x.scopePlace(ctx)))
	}
	var others []string
	for _, p := range unused {
		others = append(others, cmp.Or(names[p.RoleID], p.RoleID)+" on "+x.place(ctx, p))
	}
	if more > 0 {
		others = append(others, fmt.Sprintf("%d more", more))
	}
	if len(others) > 0 {
		lines = append(lines, warn(instruction("remove the roles that nothing else needs: %s lists the roles of the user",
			command("openstack", "role", "assignment", "list", "--effective", "--names", "--user", x.holder.UserID).Text),
			"the user has roles that Tenantry does not use: %s", strings.Join(others, "; ")))
	}
	if len(x.holder.NotShown) > 0 {
		lines = append(lines, skipped("Identity v2.0 shows only the roles on the user's own project"))
	}
	return orOK(lines, "the user has only the roles that Tenantry uses")
}

// The function `everything` returns the warning about a user who has role admin.
func everything(format string, args ...any) Line {
	return warn(instruction("use a user with fewer rights: see \"A narrower service user\" in docs/operations.md"), "%s. With Keystone's default policy, whoever has "+
		"this credential is an administrator of the whole cloud, and can change every user, project and role assignment. Tenantry needs only projects and role "+
		"assignments in its own domains", fmt.Sprintf(format, args...))
}

// inScope reports whether the role is assigned on the scope of the service's token.
func (x *examination) inScope(p keystone.Power) bool {
	h := x.holder
	return !p.Inherited && (h.System && p.System || h.ProjectID != "" && h.ProjectID == p.ProjectID || h.DomainID != "" && h.DomainID == p.DomainID)
}

// scopePlace describes the scope of the service's token.
func (x *examination) scopePlace(ctx context.Context) string {
	h := x.holder
	return x.place(ctx, keystone.Power{Granted: keystone.Granted{ProjectID: h.ProjectID, DomainID: h.DomainID}, System: h.System})
}

// The method `place` describes where a role is assigned.
func (x *examination) place(ctx context.Context, p keystone.Power) string {
	place := "the system"
	switch {
	case p.ProjectID != "":
		place = "project " + p.ProjectID
		if found, err := x.cloud.Project(ctx, p.ProjectID); err == nil {
			place = "project " + found.Name + " (" + p.ProjectID + ")"
		}
	case p.DomainID != "":
		place = "domain " + p.DomainID
		if found, err := x.cloud.Domain(ctx, p.DomainID); err == nil && found.Name != found.ID {
			place = "domain " + found.Name + " (" + p.DomainID + ")"
		}
	}
	if p.Inherited {
		place = "all projects below " + place
	}
	if p.GroupID != "" {
		place += ", through group " + p.GroupID
	}
	return place
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
