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
		problems["/problems/"+k.name] = k.title + "."
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

// constantsOf returns the values of all constant expressions of the named types. It searches the code of the service, without the
// tests. A value counts even if the code declares no named constant for it.
func constantsOf(t *testing.T, names ...string) map[string][]string {
	t.Helper()
	exports, packages := compiled(t)
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	found := map[string]map[string]bool{}
	for _, name := range names {
		found[name] = map[string]bool{}
	}
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
		for _, e := range info.Types {
			if words := found[fmt.Sprint(e.Type)]; words != nil && e.Value != nil && constant.StringVal(e.Value) != "" {
				words[constant.StringVal(e.Value)] = true
			}
		}
	}
	all := map[string][]string{}
	for name, words := range found {
		all[name] = slices.Sorted(maps.Keys(words))
	}
	return all
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
