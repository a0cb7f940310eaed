package readmetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheDocumentsNameWhatExists checks that the documents refer only to paths, tests, linked files and invariants that exist.
func TestTheDocumentsNameWhatExists(t *testing.T) {
	tests := testNames(t)
	checker, err := os.ReadFile(filepath.Join(root, "workflows/workflowstest/check.go"))
	if err != nil {
		t.Fatal(err)
	}
	exists := func(elements ...string) bool {
		_, err := os.Stat(filepath.Join(elements...))
		return err == nil
	}
	invariant := func(name string) bool { return strings.Contains(string(checker), `{"`+name+`", `) }
	directory := regexp.MustCompile(`^(cmd|orchestrator|workflows|keystone|billing|store|deploy|docs|bench)/[\w./-]+$`)
	for _, document := range []string{
		"README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/operations.md", "docs/keystone.md", "docs/process.md", "docs/chaos.md",
		"docs/benchmarks.md", "docs/installation.md", "docs/console.md",
	} {
		content, err := os.ReadFile(filepath.Join(root, document))
		if err != nil {
			t.Fatal(err)
		}
		missing := func(what string) { t.Errorf("%s names %s, which does not exist", document, what) }
		for _, name := range matches("`([^`\n]+)`", content) {
			switch {
			case directory.MatchString(name) && !exists(root, name):
				missing(name)
			case strings.HasPrefix(name, "Test") && !tests[name]:
				missing("test " + name)
			}
		}
		for _, link := range matches(`\]\(([^)#:]+)[)#]`, content) {
			if !exists(root, filepath.Dir(document), link) {
				missing("link " + link)
			}
		}
		for _, row := range matches(`(?m)^\| \d+ \|.*; ([^;\n]*) \|$`, content) {
			for _, name := range matches("`([^`]+)`", []byte(row)) {
				if !strings.HasPrefix(name, "Test") && !invariant(name) {
					missing("invariant " + name)
				}
			}
		}
	}
}

// The function `matches` finds all matches of a pattern, and returns the first group of each match.
func matches(pattern string, text []byte) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
		found = append(found, string(m[1]))
	}
	return found
}

// testNames returns the names of all tests in the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "node_modules" { // another test may be installing it at this moment
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, name := range matches(`(?m)^func (Test\w+)\(`, content) {
			names[name] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
