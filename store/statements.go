package store

import (
	"bytes"
	"embed"
	"encoding/json"
)

// Each long SQL statement is in a separate file. The comment at the beginning of a file explains the statement.
//
//go:embed statements/*.sql
var statementFiles embed.FS

var (
	pgClaim      = statement("claim_postgres.sql")
	sqliteClaim  = statement("claim_sqlite.sql")
	pgCommit     = statement("commit_postgres.sql")
	pgCommitMore = statement("commit_more_postgres.sql")
	pgCreate     = statement("create_postgres.sql")
	pgRenew      = statement("renew_postgres.sql")
	pgAddSamples = statement("add_samples_postgres.sql")
	pgRights     = statement("rights_postgres.sql")
)

// The function `statement` reads a statement from its file. `statement` removes the comment, so that the comment is not sent to the
// database.
func statement(name string) string {
	text, err := statementFiles.ReadFile("statements/" + name)
	if err != nil {
		panic(err) // only a wrong file name causes this error, because the files are embedded in the program
	}
	for bytes.HasPrefix(text, []byte("--")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return string(text)
}

// The function `jsons` encodes each parameter of a statement as JSON.
func jsons(args map[string]any) (map[string]any, error) {
	for name, rows := range args {
		encoded, err := json.Marshal(rows)
		if err != nil {
			return nil, err
		}
		args[name] = string(encoded)
	}
	return args, nil
}
