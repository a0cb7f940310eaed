package server

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// The type `items` serves the items of a plan. PUT adds an item, PATCH changes an item, and DELETE removes an item. A GET of the
// plan returns the items.
type items struct{ plans Plans }

func (i items) register(g *echo.Group, path string) {
	g.PUT(path, i.item(i.add))
	g.PATCH(path, i.item(i.update))
	g.DELETE(path, i.item(i.remove))
}

func (i items) item(next func(c echo.Context, item billing.PlanItem) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		item := billing.PlanItem{PlanID: c.Param("plan"), ProductID: c.Param("product")}
		for _, id := range []string{item.PlanID, item.ProductID} {
			if !billing.ValidID(id) {
				return notFound(id)
			}
		}
		if _, err := conditions(c.QueryParams(), nil); err != nil {
			return err
		}
		return next(c, item)
	}
}

func (i items) add(c echo.Context, item billing.PlanItem) error {
	body, err := decode[itemBody](c)
	if err != nil {
		return err
	}
	change := changes{created: true}
	body.put(&change, &item)
	if change.err != nil {
		return change.err
	}
	if err := i.plans.AddItem(c.Request().Context(), c.Param("merchant"), item); err != nil {
		if errors.Is(err, billing.ErrNotFound) {
			return notFound(item.PlanID)
		}
		return refused(err, item.ProductID)
	}
	return c.JSON(http.StatusOK, viewItem(item))
}

func (i items) update(c echo.Context, item billing.PlanItem) error {
	body, err := decode[itemBody](c)
	if err != nil {
		return err
	}
	var changed billing.PlanItem
	err = i.plans.UpdateItem(c.Request().Context(), c.Param("merchant"), item.PlanID, item.ProductID,
		func(stored *billing.PlanItem) error {
			var change changes
			body.put(&change, stored)
			changed = *stored
			return change.err
		})
	if err != nil {
		return refused(err, item.ProductID)
	}
	return c.JSON(http.StatusOK, viewItem(changed))
}

func (i items) remove(c echo.Context, item billing.PlanItem) error {
	err := i.plans.DeleteItem(c.Request().Context(), c.Param("merchant"), item.PlanID, item.ProductID)
	if err != nil {
		return refused(err, item.ProductID)
	}
	return c.NoContent(http.StatusNoContent)
}
