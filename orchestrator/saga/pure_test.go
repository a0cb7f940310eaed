package saga

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The machine is pure: for the same run, input and limits, it makes the same decision in every process.
func TestThePackageIsPure(t *testing.T) {
	mayImport := []string{
		"bytes", "cmp", "context", "encoding/json", "errors", "fmt", "hash/fnv", "maps", "slices", "strings", "time",
		"github.com/cenkalti/backoff/v4", "github.com/tenantry/tenantry/orchestrator/upstream",
	}
	mayNotCall := []string{"time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker", "time.Sleep", "time.Tick"}
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	read := 0
	for _, name := range names {
		if !strings.HasSuffix(name.Name(), ".go") || strings.HasSuffix(name.Name(), "_test.go") {
			continue
		}
		read++
		file, err := parser.ParseFile(files, name.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		fault := func(n ast.Node, what string) { t.Errorf("%s: %s", files.Position(n.Pos()), what) }
		for _, i := range file.Imports {
			if path, err := strconv.Unquote(i.Path.Value); err != nil || !slices.Contains(mayImport, path) {
				fault(i, "imports "+path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				fault(n, "starts a goroutine")
			case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
				fault(n, "uses a channel")
			case *ast.SelectorExpr:
				if of, ok := n.X.(*ast.Ident); ok && slices.Contains(mayNotCall, of.Name+"."+n.Sel.Name) {
					fault(n, "reads a clock")
				}
			}
			return true
		})
	}
	if read < 10 {
		t.Errorf("only %d files were read", read)
	}
}
