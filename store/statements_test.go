package store

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pinnedColumns are the columns of the table runs whose values never change.
var pinnedColumns = []string{
	"id", "workflow", "workflow_version", "merchant_id", "cloud", "subject", "doubles", "on_failure",
	"input", "idempotency_key", "fingerprint", "retry_of", "pinned_steps", "created_at",
}

// TestStatementsNameEveryColumn fails if a statement reads or writes a row, but does not name all columns of the row.
func TestStatementsNameEveryColumn(t *testing.T) {
	inserts := map[string]map[string]any{
		"pgCommit":     {"steps": stepRow{}, "events": eventRow{}},
		"pgCommitMore": {"steps": stepRow{}, "events": eventRow{}, "objects": objectRow{}},
		"pgCreate": {
			"runs": runRow{}, "steps": stepRow{}, "events": eventRow{}, "tokens": tokenRow{}, "idempotency_keys": idempotencyKeyRow{},
		},
	}
	texts := map[string]string{"pgCommit": pgCommit, "pgCommitMore": pgCommitMore, "pgCreate": pgCreate}
	for name, tables := range inserts {
		for table, row := range tables {
			what := fmt.Sprintf("%s: INSERT INTO %s", name, table)
			found := match(t, what, texts[name], `INSERT INTO `+table+` \((.*?)\)\s+SELECT (.*?)\s+FROM`)
			columns, values := split(found[1]), split(found[2])
			sameColumns(t, what, columns, columnsOf(t, row))
			for i, column := range columns {
				if table != "idempotency_keys" && (i >= len(values) || values[i] != "c."+column) {
					t.Errorf("%s: column %d is %s, but the values are %v", what, i, column, values)
				}
			}
		}
	}

	written := without(columnsOf(t, runRow{}), append([]string{"epoch", "version"}, pinnedColumns...)...)
	sameColumns(t, "runMutable", runMutable, written)
	for _, name := range []string{"pgCommit", "pgCommitMore"} {
		for what, want := range map[string][]string{
			`UPDATE runs r SET version = r\.version \+ 1,`: written,
			`UPDATE steps s SET`:                           without(columnsOf(t, stepRow{}), "run_id", "name"),
		} {
			var columns []string
			for _, assignment := range split(match(t, name, texts[name], what+`(.*?)FROM`)[1]) {
				column, value, _ := strings.Cut(assignment, " = ")
				columns = append(columns, column)
				if value != "c."+column {
					t.Errorf("%s: %s sets %s", name, what, assignment)
				}
			}
			sameColumns(t, name+": "+what, columns, want)
		}
	}

	var read []string
	for _, column := range split(match(t, "runColumns", runColumns, `^(.*?),\s+\(SELECT`)[1]) {
		read = append(read, strings.TrimPrefix(column, "runs."))
	}
	sameColumns(t, "runColumns", read, append(columnsOf(t, runRow{}), "handed"))
}

// columnsOf returns the columns that the store writes for a row. columnsOf also checks that each JSON key of the row is the name of
// its column.
func columnsOf(t *testing.T, row any) (columns []string) {
	t.Helper()
	for field := range reflect.TypeOf(row).Fields() {
		name, options, _ := strings.Cut(strings.TrimPrefix(field.Tag.Get("gorm"), "column:"), ";")
		if options == "->" {
			continue
		}
		columns = append(columns, name)
		if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key != name && key != "" {
			t.Errorf("%T: the JSON of column %s is named %s", row, name, key)
		}
	}
	return columns
}

func sameColumns(t *testing.T, what string, got, want []string) {
	t.Helper()
	if got, want := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("%s names the columns\n%v, want\n%v", what, got, want)
	}
}

func match(t *testing.T, what, statement, pattern string) []string {
	t.Helper()
	found := regexp.MustCompile("(?s)"+pattern).FindAllStringSubmatch(statement, -1)
	if len(found) != 1 {
		t.Fatalf("%s: %d places match %s, want one", what, len(found), pattern)
	}
	return found[0]
}

func split(list string) []string { return strings.Split(oneLine(list), ", ") }

func without(columns []string, others ...string) []string {
	return slices.DeleteFunc(columns, func(c string) bool { return slices.Contains(others, c) })
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// The test removes the parts in which the variants of a statement may differ, and compares the rest.
func TestVariantsOfStatementsAreAlike(t *testing.T) {
	if got := strings.Replace(pgClaim, "\tFOR UPDATE OF r SKIP LOCKED\n", "", 1); got != sqliteClaim || got == pgClaim {
		t.Errorf("without its lock, pgClaim is\n%s\nand sqliteClaim is\n%s", got, sqliteClaim)
	}
	more := match(t, "pgCommitMore", pgCommitMore, `, object AS MATERIALIZED \(.*?\n\)(?:, \w+ AS \(.*?\n\))*`)[0]
	unconsumed := match(t, "pgCommitMore", pgCommitMore, `\s+AND v\.id NOT IN \(.*?\(id\)\)`)[0]
	got := strings.Replace(strings.Replace(pgCommitMore, more, "", 1), unconsumed, "", 1)
	if got != pgCommit {
		t.Errorf("without objects, consumed actions and tokens, pgCommitMore is\n%s\nand pgCommit is\n%s", got, pgCommit)
	}
	_, due, _ := strings.Cut(countDue, "WHERE ")
	if n := strings.Count(oneLine(pgClaim), oneLine(due)); n != 2 {
		t.Errorf("the condition of countDue occurs %d times in pgClaim, want 2:\n%s", n, pgClaim)
	}
}

func TestStatementsNotifyOnTheChannel(t *testing.T) {
	for name, statement := range map[string]string{"pgCommit": pgCommit, "pgCommitMore": pgCommitMore, "pgCreate": pgCreate} {
		if got := match(t, name, statement, `pg_notify\('(.*?)'`)[1]; got != channel {
			t.Errorf("%s notifies on channel %q, want %q", name, got, channel)
		}
	}
}
