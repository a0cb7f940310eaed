package console

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `settingList` is the content of the page with the settings.
type settingList struct {
	Set, Default []setting // the settings that a file or a variable sets, and all other settings
}

// The type `setting` is a setting in a list.
type setting struct{ client.Setting }

// From returns the source of the value: a place in a file, a variable or "default".
func (s setting) From() string {
	switch {
	case s.File != nil:
		return *s.File
	case s.Source == client.SettingByVariable:
		return s.Variable
	}
	return "default"
}

// About returns the meaning of the setting, without the backticks around code.
func (s setting) About() string { return strings.ReplaceAll(s.Meaning, "`", "") }

// Usual returns the default, without the marks of code.
func (s setting) Usual() string { return strings.ReplaceAll(s.Default, "`", "") }

func (c *console) settings(e echo.Context) error {
	api, err := c.asPerson(e)
	if err != nil {
		return err
	}
	answer, err := api.GetSettingsWithResponse(e.Request().Context())
	if err != nil {
		return err
	}
	all, err := answered(answer.JSON200, err, answer.HTTPResponse, answer.Body)
	if err != nil {
		return err
	}
	var list settingList
	for _, s := range all.Settings {
		if s.Source == client.SettingByDefault {
			list.Default = append(list.Default, setting{s})
		} else {
			list.Set = append(list.Set, setting{s})
		}
	}
	return c.show(e, http.StatusOK, "settings", "Settings", list)
}
