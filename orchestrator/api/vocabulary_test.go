package api

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// TestTheDocumentListsEveryWord compares the enumerations of openapi.yaml with the constants in the code.
func TestTheDocumentListsEveryWord(t *testing.T) {
	const saga, audit = "github.com/tenantry/tenantry/orchestrator/saga.", "github.com/tenantry/tenantry/orchestrator/audit."
	found := constantsOf(t, saga+"Code", saga+"EventKind", saga+"ReasonKind", saga+"ActionName", saga+"DryOutcome", audit+"RepairAction",
		audit+"Code")
	for schema, kind := range map[string]string{
		"EventKind": saga + "EventKind", "ReasonKind": saga + "ReasonKind", "ActionName": saga + "ActionName", "RepairAction": audit + "RepairAction",
		"FindingCode": audit + "Code", "DryRunOutcome": saga + "DryOutcome",
	} {
		same(t, schema, slices.Sorted(maps.Keys(listed(t, schema))), found[kind])
	}

	problems, failures := map[string]string{}, found[saga+"Code"]
	for _, k := range kinds() {
		problems["/problems/"+k.name] = k.title() + "."
		if listed(t, "FailureCode")[k.name] == "" && !slices.Contains(ofRuns, k.name) { // only refused orders have this code, and they have no run
			failures = slices.DeleteFunc(failures, func(code string) bool { return code == k.name })
		}
	}
	same(t, "FailureCode", slices.Sorted(maps.Keys(listed(t, "FailureCode"))), slices.Sorted(slices.Values(slices.Concat(failures, upstreamCodes()))))
	if got := listed(t, "ProblemType"); !maps.Equal(got, problems) {
		t.Errorf("ProblemType: got %v, want %v", got, problems)
	}
}

// ofRuns are the codes of runs that are also names of problem types.
var ofRuns = []string{"login-refused", "password-expired", "mfa-required", "user-exists"}

// The function `listed` returns the values of a schema, with their texts.
func listed(t *testing.T, schema string) map[string]string {
	t.Helper()
	doc, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	s := doc.Components.Schemas[schema].Value
	values := map[string]string{}
	for _, v := range valuesOf(s) {
		values[v.Name] = v.Description
		if len(v.Description) < len("A text.") || !strings.HasSuffix(v.Description, ".") {
			t.Errorf("%s %s has the text %q", schema, v.Name, v.Description)
		}
	}
	if texts, _ := s.Extensions["x-enumDescriptions"].(map[string]any); len(values) == 0 || len(texts) != len(values) || len(s.Enum) != len(values) {
		t.Errorf("%s has %d values and %d texts", schema, len(s.Enum), len(texts))
	}
	if s.Extensions["x-extensible"] != true {
		t.Errorf("%s does not say that more values may follow", schema)
	}
	return values
}

func same(t *testing.T, schema string, listed, used []string) {
	t.Helper()
	for _, word := range used {
		if !slices.Contains(listed, word) {
			t.Errorf("%s does not list %q, which the code contains: add it to openapi.yaml, with a text", schema, word)
		}
	}
	for _, word := range listed {
		if !slices.Contains(used, word) {
			t.Errorf("%s lists %q, which the code does not contain", schema, word)
		}
	}
}

// upstreamCodes returns the codes of all possible failures of upstreams.
func upstreamCodes() []string {
	codes := map[string]bool{}
	for _, service := range []upstream.Service{keystone.Service, billing.Service} {
		for class := upstream.Transient; class <= upstream.Blocked; class++ {
			for variant := range 8 {
				e := upstream.Error{
					Service: service, Class: class, MaybeDone: variant&1 != 0, OwnCredential: variant&2 != 0, Status: variant & 4 * 125,
				}
				codes[e.Code()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(codes))
}

// TestEachCodeHasAnEntry compares the tables of the package explain with the constants in the code, and with the texts in openapi.yaml.
func TestEachCodeHasAnEntry(t *testing.T) {
	const (
		saga, audit, usage = "github.com/tenantry/tenantry/orchestrator/saga.", "github.com/tenantry/tenantry/orchestrator/audit.",
			"github.com/tenantry/tenantry/orchestrator/usage."
		subscription = "github.com/tenantry/tenantry/workflows.SubscriptionState"
	)
	found := constantsOf(t, saga+"Code", saga+"RunState", saga+"ReasonKind", audit+"Code", usage+"Reason", subscription)
	var problems []string
	for _, k := range kinds() {
		problems = append(problems, k.name)
	}
	slices.Sort(problems)
	// A refused order has no run: see TestTheDocumentListsEveryWord.
	refused := func(code string) bool { return slices.Contains(problems, code) && listed(t, "FailureCode")[code] == "" }
	failures := slices.Concat(slices.DeleteFunc(found[saga+"Code"], refused), upstreamCodes())
	slices.Sort(failures)
	want := map[string][]string{
		"States of runs": found[saga+"RunState"], "Reasons for which runs wait": found[saga+"ReasonKind"],
		"Failures": slices.Compact(failures), "Findings": found[audit+"Code"],
		// "subscription-" is the beginning of a code that is put together from a state
		"States of subscriptions":                  slices.DeleteFunc(found[subscription], func(s string) bool { return s == "subscription-" }),
		"Usage that is not billed as it should be": found[usage+"Reason"],
		"Problems": problems,
	}
	schemas := map[string]string{
		"Failures": "FailureCode", "Findings": "FindingCode", "Reasons for which runs wait": "ReasonKind", "States of subscriptions": "SubscriptionState",
	}
	for _, table := range explain.Tables() {
		got := slices.Sorted(maps.Keys(table.Entries))
		got = slices.DeleteFunc(got, func(code string) bool { return code == "" }) // a subscription that no run has made has no state
		if !slices.Equal(got, want[table.Title]) {
			t.Errorf("%s: the table explains %v\nthe code contains %v", table.Title, got, want[table.Title])
		}
		if schema := schemas[table.Title]; schema != "" {
			for code, text := range listed(t, schema) {
				if e := table.Entries[code]; e.Summary() != text {
					t.Errorf("openapi.yaml says about %s %s: %q, but the table says %q", schema, code, text, e.Summary())
				}
			}
		}
	}
}

// TestTheTableKnowsWhoCanFixAFailure compares each place in the code that sets the code and the fixer of a failure with the entry of the code.
func TestTheTableKnowsWhoCanFixAFailure(t *testing.T) {
	const code, fixBy = "github.com/tenantry/tenantry/orchestrator/saga.Code", "github.com/tenantry/tenantry/orchestrator/saga.FixBy"
	seen := 0
	eachFile(t, func(file *ast.File, info *types.Info) {
		ast.Inspect(file, func(n ast.Node) bool {
			var parts []ast.Expr
			switch n := n.(type) {
			case *ast.CompositeLit:
				parts = n.Elts
			case *ast.CallExpr:
				parts = n.Args
			case *ast.AssignStmt:
				parts = n.Rhs
			}
			words := map[string]string{}
			for _, e := range parts {
				if pair, ok := e.(*ast.KeyValueExpr); ok {
					e = pair.Value
				}
				if v := info.Types[e]; v.Value != nil && v.Value.Kind() == constant.String {
					words[fmt.Sprint(v.Type)] = constant.StringVal(v.Value)
				}
			}
			if words[code] == "" || words[fixBy] == "" {
				return true
			}
			seen++
			failure, ofRun := explain.Failure(words[code])
			problem, ofRequest := explain.Problem(words[code])
			if !slices.Contains(slices.Concat(failure.FixBy, problem.FixBy), explain.Fixer(words[fixBy])) && !slices.Contains(problem.FixBy, explain.Caller) {
				t.Errorf("the code says that %s is for %s to fix, but the table has %v (failure %t, problem %t)",
					words[code], words[fixBy], failure.FixBy, ofRun, ofRequest)
			}
			return true
		})
	})
	if seen < 50 {
		t.Errorf("only %d places were checked", seen)
	}
}

// constantsOf returns the values of all constant expressions of the named types. It searches the code of the service, without the
// tests. A value counts even if the code declares no named constant for it.
func constantsOf(t *testing.T, names ...string) map[string][]string {
	t.Helper()
	found := map[string]map[string]bool{}
	for _, name := range names {
		found[name] = map[string]bool{}
	}
	eachFile(t, func(file *ast.File, info *types.Info) {
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			v := info.Types[e]
			if words := found[fmt.Sprint(v.Type)]; words != nil && v.Value != nil && constant.StringVal(v.Value) != "" {
				words[constant.StringVal(v.Value)] = true
			}
			return true
		})
	})
	all := map[string][]string{}
	for name, words := range found {
		all[name] = slices.Sorted(maps.Keys(words))
	}
	return all
}

// eachFile calls the function `see` for each file of the service, without the tests, with the types of its expressions.
func eachFile(t *testing.T, see func(*ast.File, *types.Info)) {
	t.Helper()
	exports, packages := compiled(t)
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, p := range packages {
		var parsed []*ast.File
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, file)
		}
		info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		if _, err := (&types.Config{Importer: imports}).Check(p.ImportPath, files, parsed, &info); err != nil {
			t.Fatal(err)
		}
		for _, file := range parsed {
			see(file, &info)
		}
	}
}

type goPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// The function `compiled` returns the file of each compiled package, by import path. It also returns the packages of this module that the
// binary contains.
func compiled(t *testing.T) (exports map[string]string, own []goPackage) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "../../cmd/tenantry")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports = map[string]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, "github.com/tenantry/tenantry/") {
			own = append(own, p)
		}
	}
	return exports, own
}

// TestThePagesExplainEveryWord checks that each value has a text at the address that its schema names.
func TestThePagesExplainEveryWord(t *testing.T) {
	document, err := loadDocument("test")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := newDocs(document)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, schema := range document.doc.Components.Schemas {
		if schema.Value.Extensions["x-extensible"] == nil || name == "ProblemType" { // problems have pages of their own
			continue
		}
		if !strings.Contains(schema.Value.Description, "/docs#"+name+"-") {
			t.Errorf("the description of %s does not say where its values are explained", name)
		}
		for _, v := range valuesOf(schema.Value) {
			seen++
			if !strings.Contains(string(pages.index), fmt.Sprintf(`<tr id="%s-%s">`, name, v.Name)) {
				t.Errorf("/docs#%s-%s does not exist", name, v.Name)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d values were checked", seen)
	}
}
