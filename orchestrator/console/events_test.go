package console_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
)

// The page of a run with very many events shows the newest ones, and says that earlier ones are left out.
func TestARunWithVeryManyEvents(t *testing.T) {
	database := storetest.SQLite(t)
	w := newWorld(t, func(o *servicetest.Options) { o.Database = database })
	v, id := w.operator(t), w.order(t, w.Merchant)
	db, err := sql.Open("sqlite", strings.TrimPrefix(database, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const more = 5300
	for _, statement := range []string{
		`CREATE TABLE more AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %[2]d)
			SELECT events.*, n.i AS i FROM events, n WHERE run_id = '%[1]s' AND seq = 1`,
		`UPDATE more SET seq = i + (SELECT last_seq FROM runs WHERE id = '%[1]s'), why = 'event ' || i || '.'`,
		`ALTER TABLE more DROP COLUMN i`,
		`INSERT INTO events SELECT * FROM more`,
		`UPDATE runs SET last_seq = last_seq + %[2]d WHERE id = '%[1]s'`,
	} {
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf(statement+" -- %[1]s %[2]d", id, more)); err != nil {
			t.Fatal(err)
		}
	}
	for query, first := range map[string]int{"": more - 199, "?events=all": more - 4999} {
		p := v.get("/console/runs/" + id + query)
		if !strings.Contains(p.text, fmt.Sprintf("event %d.", more)) || !strings.Contains(p.text, fmt.Sprintf("event %d.", first)) ||
			strings.Contains(p.text, fmt.Sprintf("event %d.", first-1)) {
			t.Errorf("%s: %d, the page does not show the events from %d to %d", query, p.status, first, more)
		}
		if strings.Contains(p.text, "Earlier events are left out") != (query != "") || strings.Contains(p.text, "?events=all") != (query == "") {
			t.Errorf("%s: the page does not say that there are earlier events", query)
		}
	}
}
