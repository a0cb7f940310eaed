package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/escape"
)

// The type `format` is the output format of a command's result. The flag -f sets the format.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
	asYAML  format = "yaml"
)

func (f *format) String() string { return string(*f) }

// Set stores the value of the flag -f. It returns an error if there is no such format.
func (f *format) Set(s string) error {
	if !slices.Contains([]format{asTable, asJSON, asYAML}, format(s)) {
		return fmt.Errorf("%q is not one of table, json, yaml", s)
	}
	*f = format(s)
	return nil
}

// Type returns the text that the help shows in place of the flag's value.
func (f *format) Type() string { return "table|json|yaml" }

// formatFlag adds -f to a command.
func formatFlag(c *cobra.Command) *format {
	f := asTable
	c.Flags().VarP(&f, "format", "f", "output format")
	return &f
}

// The method `print` writes the result as a table, or as JSON or YAML with the field names of the API.
func (f format) print(w io.Writer, result any, table func(w io.Writer)) error {
	if f == asTable {
		columns := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		table(columns)
		return columns.Flush()
	}
	text, err := json.MarshalIndent(result, "", "  ")
	if err == nil && f == asYAML {
		text, err = jsonToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(text), "\n"))
	return err
}

// jsonToYAML converts JSON to YAML. If a text contains characters that control a terminal, jsonToYAML quotes the text, because only
// quoted texts can contain escapes: see the type `screen`.
func jsonToYAML(text []byte) ([]byte, error) {
	quoted := yaml.CustomMarshaler(func(s string) ([]byte, error) {
		if strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && escape.Controls(r) }) {
			return json.Marshal(s)
		}
		return yaml.Marshal(s)
	})
	var ordered any
	if err := yaml.UnmarshalWithOptions(text, &ordered, yaml.UseOrderedMap()); err != nil {
		return nil, err
	}
	return yaml.MarshalWithOptions(ordered, quoted)
}

// The function `row` writes one line of a table. In the cells, it escapes newlines and other characters that control a terminal.
func row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = visible(fmt.Sprint(cell))
	}
	_, _ = fmt.Fprintln(w, strings.Join(texts, "\t"))
}
