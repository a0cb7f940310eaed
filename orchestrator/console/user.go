package console

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `userPage` is the content of the page of a user.
type userPage struct {
	objectPage

	User      *client.TenantUser
	UserFault string
}

func (c *console) user(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	var page userPage
	if page.objectPage, err = c.object(e, api, "user"); err != nil {
		return err
	}
	answer, err := api.GetUserWithResponse(e.Request().Context(), page.ID)
	if err != nil {
		return err
	}
	if page.User, page.UserFault, err = partOf(answer.JSON200, answer.HTTPResponse, answer.Body); err != nil {
		return err
	}
	return c.show(e, http.StatusOK, "user", "User "+short(page.ID), page)
}

// Billed returns the customers and the subscriptions of the runs on the page, newest first.
func (p userPage) Billed() (all []client.Object) {
	for _, r := range p.Runs {
		for _, o := range r.Objects {
			same := func(other client.Object) bool { return other.Kind == o.Kind && other.ID == o.ID }
			if (o.Kind == "customer" || o.Kind == "subscription") && !slices.ContainsFunc(all, same) {
				all = append(all, o)
			}
		}
	}
	return all
}
