package v3_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
)

// TestEveryIDIsEncodedOnce calls each method that puts an id into a path. If Keystone decodes the path once, it must get the same id.
func TestEveryIDIsEncodedOnce(t *testing.T) {
	for id, encoded := range map[string]string{
		"john.doe": "john.doe", "m@example.org": "m@example.org", "Ann Lee": "Ann%20Lee", "50%": "50%25", "%2e%2e": "%252e%252e", "a%2Fb": "a%252Fb",
		"x?y#z": "x%3Fy%23z", "a;b+c": "a%3Bb+c", "ü": "%C3%BC", "...": "...", `a\b`: "a%5Cb",
	} {
		t.Run(id, func(t *testing.T) {
			var paths []string
			h := newHouse(t, func(c *conn.Config) {
				next := c.Base
				c.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
					if !strings.HasSuffix(r.URL.Path, "/auth/tokens") {
						paths = append(paths, r.Method+" "+strings.TrimPrefix(r.URL.EscapedPath(), "/v3"))
					}
					return next.RoundTrip(r)
				})
			})
			h.AddUser(keystonetest.User{ID: id, Name: "u"})
			project := h.AddProject(keystone.Project{Name: "bs-customer-1"})
			role, err := h.Role("member")
			if err != nil {
				t.Fatal(err)
			}
			a := keystone.Assignment{ProjectID: project, UserID: id, RoleID: role.ID}
			ctx := t.Context()
			user, err := h.cloud.User(ctx, id)
			if err != nil || user.ID != id {
				t.Errorf("User: %+v, %v", user, err)
			}
			if err := h.cloud.EnsureAssignment(ctx, a); err != nil || !slices.Contains(h.Assignments(), a) {
				t.Errorf("EnsureAssignment: %v, %v", h.Assignments(), err)
			}
			if has, err := h.cloud.HasAssignment(ctx, a); err != nil || !has {
				t.Errorf("HasAssignment: %t, %v", has, err)
			}
			if roles, err := h.cloud.AssignedRoles(ctx, project, id); err != nil || !slices.Equal(roles, []string{role.ID}) {
				t.Errorf("AssignedRoles: %v, %v", roles, err)
			}
			if removed, err := h.cloud.RemoveAssignment(ctx, a); err != nil || !removed {
				t.Errorf("RemoveAssignment: %t, %v", removed, err)
			}
			grant := " /projects/" + project + "/users/" + encoded + "/roles/" + role.ID
			want := []string{
				"GET /users/" + encoded, "GET /projects/" + project, "PUT" + grant, "HEAD" + grant, "GET /role_assignments", "DELETE" + grant,
			}
			if !slices.Equal(paths, want) {
				t.Errorf("got  %q\nwant %q", paths, want)
			}

			// Keystone chooses hexadecimal ids for domains, projects and roles. These ids must be encoded in paths nevertheless.
			paths = nil
			other := keystone.Assignment{ProjectID: id, UserID: "u", RoleID: id}
			for _, call := range []func(context.Context) error{
				func(ctx context.Context) error { return only(h.cloud.Domain(ctx, id)) },
				func(ctx context.Context) error {
					return only(h.cloud.RemoveProject(ctx, keystone.Project{ID: id}, "tenantry-run-1"))
				},
				func(ctx context.Context) error { return only(h.cloud.HasAssignment(ctx, other)) },
				func(ctx context.Context) error { return h.cloud.EnsureAssignment(ctx, other) },
			} {
				if err := call(ctx); err != nil && !errors.Is(err, keystone.ErrNotFound) {
					t.Error(err)
				}
			}
			want = []string{
				"GET /domains/" + encoded, "GET /domains", "GET /projects/" + encoded, "HEAD /projects/" + encoded + "/users/u/roles/" + encoded,
				"GET /projects/" + encoded, // the guard's read
			}
			if !slices.Equal(paths, want) {
				t.Errorf("got  %q\nwant %q", paths, want)
			}
		})
	}
}
