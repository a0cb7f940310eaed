package main

import (
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/service"
)

// The method `shown` returns the settings in force and their sources, with secrets masked. Operators read them from the API.
func (c *Config) shown() []service.Setting {
	var all []service.Setting
	for _, s := range c.settings() {
		one := service.Setting{
			Key: s.key, Variable: variable(s.key), Value: textOf(s.show()), Source: service.SourceDefault, Default: s.fallback, Meaning: s.meaning,
		}
		if one.Default == "" {
			one.Default = s.otherwise
		}
		switch where := c.sources[s.key]; where {
		case "":
		case one.Variable:
			one.Source = service.SourceVariable
		default:
			one.Source, one.File = service.SourceFile, where
		}
		all = append(all, one)
	}
	return all
}

// The function `textOf` returns a value as the text that an environment variable would contain.
func textOf(value any) string {
	if list, ok := value.([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(value)
}
