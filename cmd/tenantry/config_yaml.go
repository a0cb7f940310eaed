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

// readFile reads the file at path into the texts of settings; whether there are such settings is for the caller to see. The second
// result is what is wrong with single values, the error what is wrong with the file.
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
			return nil, nil, fmt.Errorf("reading the configuration: %s holds no keys and values", name)
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

// nodeText is a value as it was written, so that an id of digits alone stays what it is; a list becomes a comma list.
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
		return "", errors.New("its value is neither a text, a number nor a list")
	}
}

// withoutSource is a parser's error without the lines that it quotes: a secret may stand in them.
func withoutSource(err error) error {
	var fault yaml.Error
	if !errors.As(err, &fault) || fault.GetToken() == nil {
		return errors.New("it is not YAML")
	}
	return fmt.Errorf("line %d: %s", fault.GetToken().Position.Line, fault.GetMessage())
}

// print writes all that holds as a file that could be read again, but that secrets are masked.
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

// mask stands for a secret that is there.
func mask(present bool) string {
	if !present {
		return ""
	}
	return "xxxxx"
}

// maskURL is a database's URL without its passwords, of which PostgreSQL takes some as parameters too.
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
