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

// The variable `parts` contains the packages that must work with any workflow. The test does not check the files and directories
// that are listed for a package: they may name the objects of a workflow.
var parts = map[string][]string{
	"orchestrator/saga":        nil,
	"orchestrator/engine":      nil,
	"orchestrator/groupcommit": nil,
	"orchestrator/upstream":    nil,
	"orchestrator/merchants":   nil,
	"orchestrator/service":     nil,
	"orchestrator/api": {
		"api.gen.go", "subscribe.go", "switch.go", "changeplan.go", "life.go", "catalog.go", "merchants.go",
		"audits.go", "findings.go", "ledger.go", "repairs.go", // an audit compares customers and subscriptions
		"usage.go",   // the usage of a subscription
		"explain.go", // the explanation of a subscription
	},
	"store": {
		"billingstack", "auditrows.go", "entries.go", "findinglists.go", "plans.go", "approvals.go", "0015_audits.sql", "0016_repair_plans.sql",
		"0030_repair_approvals.sql",
		// an amount and a row of usage belong to a plan and a subscription
		"usageagain.go", "usagebilling.go", "usagehours.go", "usagerows.go", "usageterms.go", "usageunmatched.go",
		"auditusage.go", "0020_usage_hours.sql", "0021_usage_rows.sql", "0028_usage_terms.sql",
	},
	"cmd/tenantry": {
		"audit_findings.go", "audit_run.go", "audit_tables.go", "audit_plan.go", "audit_apply.go", "repair_file.go", "whois.go",
		"subscribe.go", "subscriptions.go", "usagecmd.go", "explain.go", "root.go", // these files contain the commands of workflows, and the list of commands
		"demo.go", "demo_checks.go", "demo_keep.go", "demo_portal.go", "demo_stage.go", "demo_upstreams.go",
	},
}

// The variable `business` matches the words that only a workflow may use.
var business = regexp.MustCompile(`(?i)subscri|customer|(^|[^a-z])plans?([^a-z]|$)`)

// The variable `settings` matches the allowed names that contain words of a workflow. The allowed names are the role settings for the
// two kinds of tenants, the example of a domain, the OpenStack service type of Tenantry, and a setting of PostgreSQL.
var settings = regexp.MustCompile(`(?i)(customer|subscription)[-_ ]?(roles|tenants?)|^customers$|subscription-orchestration|plan_cache_mode|force_generic_plan`)

// The constant `history` is the number of the last SQL migration that the test does not check. The migrations up to this number
// have columns that are named after workflow words.
const history = "0010"

// Packages that work with any workflow must not mention a subscription, a customer or a plan in an identifier, a column or a
// text.
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
		t.Errorf("only %d names were checked", seen)
	}
}

type named struct {
	text string
	line int
}

// For a Go file, namesIn returns the identifiers and literals. For an SQL file, namesIn returns the lines without their comments.
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
