package explain

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -count=1 -run ^TestThePageOfCodesIsCurrent$ . -write-page

const codesPage = "../../docs/codes.md"

var writePage = flag.Bool("write-page", false, "write docs/codes.md instead of comparing it")

const pageHead = `# Codes

<!-- make generate writes this page from the tables in orchestrator/explain. -->

This page lists what Tenantry says about runs, failures, findings, subscriptions and problems. The command ` + "`tenantry explain ID`" + ` prints
these texts for a run, a finding or a subscription, with the ids in the commands. In the API, the field ` + "`explanation`" + ` has the same texts.
In the commands below, words in capitals stand for ids, names and reasons.

The column *who* has the values of the field ` + "`fix_by`" + `, the usual value first. The value ` + "`nobody`" + ` means that the fault ends by itself, or that there
is nothing to fix. The value ` + "`caller`" + ` means the sender of the request, or somebody who is allowed to send it.
`

// The function `page` returns the text of docs/codes.md.
func page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, table := range Tables() {
		fmt.Fprintf(&b, "\n## %s\n\n| code | what happened | who | what to do |\n| --- | --- | --- | --- |\n", table.Title)
		for _, code := range slices.Sorted(maps.Keys(table.Entries)) {
			e := table.Entries[code]
			var who []string
			for _, f := range e.FixBy {
				who = append(who, string(f))
			}
			if code == "" {
				code = " "
			}
			what := sentences(sentence(e.Summary()), Facts{}.text(e.Why), sentence(e.Means))
			row := fmt.Sprintf("| `%s` | %s | %s | %s |", code, cell.Replace(what), strings.Join(who, ", "), cell.Replace(e.Advice()))
			b.WriteString(strings.ReplaceAll(row, "  ", " ") + "\n")
		}
	}
	return b.String()
}

func TestThePageOfCodesIsCurrent(t *testing.T) {
	want := page()
	if *writePage {
		if err := os.WriteFile(codesPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(codesPage); err != nil || string(got) != want {
		t.Errorf("docs/codes.md is stale, run make generate: %v", err)
	}
}
