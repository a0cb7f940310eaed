package workflows_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// parts are the packages that serve any workflow, and in them the files that are about one: its operation or its command, the
// roles that a merchant sets for its tenants, or the catalog.
var parts = map[string][]string{
	"orchestrator/saga":        nil,
	"orchestrator/engine":      nil,
	"orchestrator/groupcommit": nil,
	"orchestrator/upstream":    nil,
	"orchestrator/merchants":   nil,
	"orchestrator/service":     nil,
	"orchestrator/api":         {"api.gen.go", "subscribe.go", "catalog.go", "merchants.go"},
	"store":                    {"billingstack"},
}

// business is what only a workflow knows.
var business = regexp.MustCompile(`(?i)subscri|customer|(^|[^a-z])plans?([^a-z]|$)`)

// settings are what else these words stand for: the roles that a merchant sets for its tenants, BillingStack's own tables, what
// the catalog of OpenStack calls this service, and a setting of PostgreSQL.
var settings = regexp.MustCompile(`(?i)(customer|subscription)[-_]?roles|subscription-orchestration|plan_cache_mode = force_generic_plan`)

// history are the migrations up to which columns had other names.
const history = "0010"

// What serves any workflow names none, nor what one is about: not in an identifier, a column or a text.
func TestNothingOutsideOfWorkflowsNamesOne(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for part, but := range parts {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, e fs.DirEntry, err error) error {
			name := e.Name()
			switch {
			case err != nil:
				return err
			case slices.Contains(but, name) && e.IsDir(), e.IsDir() && strings.HasSuffix(name, "test"), e.IsDir() && name == "client":
				return fs.SkipDir
			case slices.Contains(but, name), strings.HasSuffix(name, "_test.go"), filepath.Ext(name) == ".sql" && name[:4] <= history:
				return nil
			}
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			for _, named := range namesIn(t, path) {
				seen++
				if business.MatchString(settings.ReplaceAllString(named.text, "")) {
					t.Errorf("%s:%d names %s", relative, named.line, named.text)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if seen < 1000 {
		t.Errorf("only %d names were looked at", seen)
	}
}

type named struct {
	text string
	line int
}

// namesIn are the identifiers and texts of a Go file, and the words of an SQL file.
func namesIn(t *testing.T, path string) (all []named) {
	t.Helper()
	switch filepath.Ext(path) {
	case ".sql":
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			code, _, _ := strings.Cut(line, "--")
			all = append(all, named{code, i + 1})
		}
	case ".go":
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Ident:
				all = append(all, named{n.Name, files.Position(n.Pos()).Line})
			case *ast.BasicLit:
				text := n.Value
				if unquoted, err := strconv.Unquote(text); err == nil {
					text = unquoted
				}
				all = append(all, named{text, files.Position(n.Pos()).Line})
			}
			return true
		})
	}
	return all
}
