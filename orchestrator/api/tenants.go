package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// tenantKinds lists the problem types of the operations of this file.
var (
	tenantKinds        = []kind{tenantNotFound, tenantUserNotFound}
	tenantNotFound     = kind{"tenant-not-found", http.StatusNotFound, false}
	tenantUserNotFound = kind{"user-not-found", http.StatusNotFound, false}
)

const (
	// To find the users of a tenant, or the tenants of a user, the API reads at most runsAboutTenant runs.
	runsAboutTenant = 100
	// maxTenantRoles is the maximum number of pairs of a user and a tenant whose roles are read from Keystone for one answer.
	maxTenantRoles = 10
)

// GetTenant shows a tenant as it is in Keystone now. The caller sees the tenant only if a run that the caller may see has made or used the
// tenant. The answer shows the roles of the users in these runs: see usersOf.
func (s *server) GetTenant(c echo.Context, tenantID string) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), coalesce.Limit)
	defer cancel()
	runs, err := s.seenRuns(ctx, c, saga.Filter{Objects: []saga.ObjectRef{{Kind: "project", ID: tenantID}}})
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return refuse(tenantNotFound, "no run has made or used a project with this id")
	}
	cloud := runs[0].Cloud
	identity, err := s.identity(cloud)
	if err != nil {
		return err
	}
	answer := Tenant{ID: tenantID, Cloud: cloud, MerchantID: runs[0].Merchant, State: KeystoneMissing, Roles: []TenantRole{}}
	project, err := identity.Project(ctx, tenantID)
	if errors.Is(err, keystone.ErrNotFound) {
		answer.Name = some(namesOf(runs, "project")[tenantID])
		return answerJSON(c, http.StatusOK, answer)
	}
	if err != nil {
		return err
	}
	answer.Name, answer.DomainID, answer.State, answer.Tags = &project.Name, &project.DomainID, stateIn(project.Enabled), list(project.Tags)
	roles := namesOf(runs, "role-assignment")
	for _, id := range usersOf(runs, tenantID) {
		user, err := identity.User(ctx, id)
		if err != nil && !errors.Is(err, keystone.ErrNotFound) {
			return err
		}
		held, err := rolesOf(ctx, identity, roles, TenantRole{TenantID: tenantID, Tenant: &project.Name, UserID: id, User: some(user.Name)})
		if err != nil {
			return err
		}
		answer.Roles = append(answer.Roles, held...)
	}
	return answerJSON(c, http.StatusOK, answer)
}

// GetUser shows a user as it is in Keystone now. The caller sees the user only if the caller may see a run of the user. The answer shows
// the user's roles on the tenants of these runs: see tenantsOf.
func (s *server) GetUser(c echo.Context, userID string) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), coalesce.Limit)
	defer cancel()
	runs, err := s.seenRuns(ctx, c, saga.Filter{User: userID})
	if err == nil && len(runs) == 0 { // a run that has only created the user
		runs, err = s.seenRuns(ctx, c, saga.Filter{Objects: []saga.ObjectRef{{Kind: "user", ID: userID}}})
	}
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return refuse(tenantUserNotFound, "no run is about a user with this id")
	}
	cloud := runs[0].Cloud
	identity, err := s.identity(cloud)
	if err != nil {
		return err
	}
	answer := TenantUser{ID: userID, Cloud: cloud, State: KeystoneMissing, Roles: []TenantRole{}}
	user, err := identity.User(ctx, userID)
	if errors.Is(err, keystone.ErrNotFound) {
		answer.Name = some(namesOf(runs, "user")[userID])
		return answerJSON(c, http.StatusOK, answer)
	}
	if err != nil {
		return err
	}
	answer.Name, answer.DomainID, answer.State = &user.Name, &user.DomainID, stateIn(user.Enabled)
	roles, tenants := namesOf(runs, "role-assignment"), namesOf(runs, "project")
	for _, id := range tenantsOf(runs, cloud) {
		held, err := rolesOf(ctx, identity, roles, TenantRole{TenantID: id, Tenant: some(tenants[id]), UserID: userID, User: &user.Name})
		if err != nil {
			return err
		}
		answer.Roles = append(answer.Roles, held...)
	}
	return answerJSON(c, http.StatusOK, answer)
}

// seenRuns returns the newest of the runs that match the filter and that the caller may see.
func (s *server) seenRuns(ctx context.Context, c echo.Context, f saga.Filter) ([]*saga.Run, error) {
	if own := callerOf(c).merchant; own != nil {
		f.Merchant = own.ID
	}
	f.Limit = runsAboutTenant
	return s.Runs.Runs(ctx, f)
}

func stateIn(enabled bool) KeystoneState {
	if enabled {
		return KeystoneEnabled
	}
	return KeystoneDisabled
}

// rolesOf returns the roles of a user on a tenant. The parameter `of` names the user and the tenant, and `names` has the names of roles by the
// ids of their assignments. If Keystone does not have the tenant, the result is empty.
func rolesOf(ctx context.Context, identity keystone.Identity, names map[string]string, of TenantRole) (all []TenantRole, err error) {
	ids, err := identity.AssignedRoles(ctx, of.TenantID, of.UserID)
	if errors.Is(err, keystone.ErrNotFound) {
		return nil, nil
	}
	for _, id := range ids {
		of.RoleID, of.Role = id, nil
		for assignment, name := range names {
			if strings.HasSuffix(assignment, "/"+id) {
				of.Role = some(name)
			}
		}
		all = append(all, of)
	}
	return all, err
}

// namesOf returns the names of the runs' objects of one kind, by their ids.
func namesOf(runs []*saga.Run, kind string) map[string]string {
	names := map[string]string{}
	for _, r := range slices.Backward(runs) {
		for _, o := range r.Objects {
			if o.Kind == kind && o.Name != "" {
				names[o.ID] = o.Name
			}
		}
	}
	return names
}

// usersOf returns the users of the runs, and the users to whom the runs have given roles on the project. The users of the newest runs are first.
func usersOf(runs []*saga.Run, projectID string) (ids []string) {
	add := func(id string) {
		if id != "" && len(ids) < maxTenantRoles && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, r := range runs {
		add(r.User)
		for _, o := range r.Objects {
			if rest, on := strings.CutPrefix(o.ID, projectID+"/"); on && o.Kind == "role-assignment" {
				user, _, _ := strings.Cut(rest, "/")
				add(user)
			}
		}
	}
	return ids
}

// tenantsOf returns the projects of the runs. The projects of the newest runs are first. Ids are unique only within a cloud, so the runs of other
// clouds do not count.
func tenantsOf(runs []*saga.Run, cloud string) (ids []string) {
	for _, r := range runs {
		for _, o := range r.Objects {
			if o.Kind == "project" && r.Cloud == cloud && len(ids) < maxTenantRoles && !slices.Contains(ids, o.ID) {
				ids = append(ids, o.ID)
			}
		}
	}
	return ids
}
