package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// readFile returns the text of each key in the YAML file at path. readFile does not check whether a key is a setting. The second
// result has an error for each value of a wrong type. The third result is not nil if the file cannot be read or parsed.
func readFile(path string) (map[string]given, []error, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	name := filepath.Base(path)
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %s: %w", name, withoutSource(err))
	}
	var entries []*ast.MappingValueNode
	for _, document := range file.Docs {
		switch body := document.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.NullNode:
		case *ast.MappingNode:
			entries = append(entries, body.Values...)
		default:
			return nil, nil, fmt.Errorf("reading the configuration: %s must be a YAML mapping of keys to values", name)
		}
	}
	values := make(map[string]given, len(entries))
	var faults []error
	for _, entry := range entries {
		key := entry.Key.GetToken().Value
		source := fmt.Sprintf("%s:%d", name, entry.Key.GetToken().Position.Line)
		text, err := nodeText(entry.Value)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s (%s): %w", key, source, err))
		} else if text != "" {
			values[key] = given{text, source}
		}
	}
	return values, faults, nil
}

// nodeText returns the text of a value unchanged, so that an id such as 0123 keeps its zero. nodeText joins the items of a list
// with commas.
func nodeText(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.NullNode:
		return "", nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), nil
	case *ast.SequenceNode:
		texts := make([]string, len(n.Values))
		for i, element := range n.Values {
			text, err := nodeText(element)
			if err != nil {
				return "", err
			}
			texts[i] = text
		}
		return strings.Join(texts, ","), nil
	case ast.ScalarNode:
		return n.GetToken().Value, nil
	default:
		return "", errors.New("the value must be a text, a number or a list")
	}
}

// withoutSource returns the message and the line number of a parser's error. withoutSource omits the quoted lines of the file,
// which may contain a secret.
func withoutSource(err error) error {
	var fault yaml.Error
	if !errors.As(err, &fault) || fault.GetToken() == nil {
		return errors.New("the file is not valid YAML")
	}
	return fmt.Errorf("line %d: %s", fault.GetToken().Position.Line, fault.GetMessage())
}

// The method `print` writes the settings in force as a YAML file, with secrets masked.
func (c Config) print(w io.Writer) error {
	var lines yaml.MapSlice
	for _, s := range c.settings() {
		lines = append(lines, yaml.MapItem{Key: s.key, Value: s.show()})
	}
	text, err := yaml.Marshal(lines)
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// The function `mask` returns the text that is shown instead of a secret.
func mask(present bool) string {
	if !present {
		return ""
	}
	return "xxxxx"
}

// maskURL masks the passwords in a database's URL. A PostgreSQL URL may also have passwords among its parameters.
func maskURL(s string) string {
	if strings.HasPrefix(s, "sqlite:") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return mask(true)
	}
	query := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if query.Has(name) {
			query.Set(name, mask(true))
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}
