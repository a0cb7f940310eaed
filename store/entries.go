package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Entries reads a page of the ledger, as audit.Store specifies.
func (t *Audits) Entries(ctx context.Context, f audit.EntryFilter) ([]audit.Entry, error) {
	db, err := t.store.filteredEntries(t.store.db.WithContext(ctx), f)
	if err != nil {
		return nil, err
	}
	var rows []entryRow
	if err := db.Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
	}
	page := make([]audit.Entry, len(rows))
	for i, r := range rows {
		page[i] = audit.Entry{
			Kind: r.Kind, ID: r.ID, Name: r.Name, Cloud: r.Cloud, Origin: saga.Origin(r.Origin), RemovedAt: maybeAt(r.RemovedAt),
			RunID: r.RunID, Workflow: r.Workflow, RunState: saga.RunState(r.State), MerchantID: r.MerchantID, Step: r.Step,
			At: at(r.At), By: r.Who, Why: r.Why, RequestID: r.RequestID,
		}
	}
	return page, nil
}

// entryColumns and entryTables are parts of a query of entries. An entry is an object of a run. The first event of the run says who
// requested the run.
const (
	entryColumns = `
	o.kind, o.id, o.name, o.cloud, o.origin, o.removed_at, o.run_id, runs.workflow, runs.state, runs.merchant_id, o.step,
	COALESCE(s.ended_at, runs.created_at) AS at, COALESCE(e.who, '') AS who, COALESCE(e.why, '') AS why, o.request_id`

	entryTables = `
	JOIN objects o ON o.run_id = runs.id
	LEFT JOIN steps s ON s.run_id = o.run_id AND s.name = o.step
	LEFT JOIN events e ON e.run_id = o.run_id AND e.seq = 1`
)

// runsOfCustomer finds the runs about a customer. The subject of such a run is MERCHANT:CUSTOMER. The statement also finds
// runs by this subject, because some runs have not recorded the customer as an object. The comment on withID explains why the
// statement turns the results of subqueries into arrays.
const runsOfCustomer = `
	WITH about AS (
		SELECT DISTINCT subject FROM runs WHERE subject = merchant_id || ':' || @id AND id = ANY (ARRAY(
			SELECT run_id FROM objects WHERE kind = 'customer' AND id = @id AND id NOT LIKE '%/%'))
	)
	SELECT run_id FROM objects WHERE kind = 'customer' AND id = @id AND id NOT LIKE '%/%'
	UNION
	SELECT id FROM runs WHERE ended_at IS NULL AND subject = ANY (ARRAY(SELECT subject FROM about))
	UNION
	SELECT id FROM runs WHERE ended_at IS NOT NULL AND subject = ANY (ARRAY(SELECT subject FROM about))`

// runsOfUser finds the runs whose user has the given id. If such a run has recorded a project, runsOfUser also finds all other runs that
// have recorded this project. There is no index of role assignments by user, because each subscribe run would have to update the index.
const runsOfUser = `
	SELECT id FROM runs WHERE user_id = @id
	UNION
	SELECT run_id FROM objects WHERE id NOT LIKE '%/%' AND id = ANY (ARRAY(
		SELECT id FROM objects WHERE kind = 'project' AND run_id = ANY (ARRAY(
			SELECT id FROM runs WHERE user_id = @id))))`

// withoutArrays converts a PostgreSQL statement to an SQLite statement, because SQLite has no arrays.
var withoutArrays = strings.NewReplacer("= ANY (ARRAY(", "IN (", "))", ")")

// filteredEntries restricts a query to a page of entries. The query first finds the runs that may have such entries: see the method
// `few`.
func (s *Store) filteredEntries(db *gorm.DB, f audit.EntryFilter) (*gorm.DB, error) {
	kind, id, err := question(f)
	if err != nil {
		return nil, err
	}
	db = db.Table("runs").Select(entryColumns).Joins(entryTables)
	last := afterAll
	if f.After != "" {
		run, object, _ := strings.Cut(upstream.Clean(f.After), "/")
		ofKind, withID, _ := strings.Cut(object, "/")
		db = db.Where("(o.run_id, o.kind, o.id) < (?, ?, ?)", run, ofKind, withID)
		last = run + "/" // this text sorts after the id of the run, and before all greater ids
	}
	ofUser, ofCustomer, named := runsOfUser, runsOfCustomer, sql.Named("id", id)
	if !s.postgres() {
		ofUser, ofCustomer = withoutArrays.Replace(ofUser), withoutArrays.Replace(ofCustomer)
	}
	switch kind {
	case "project":
		on := id + "/"
		db = s.withID(db, runsOfObject, kind, id, "", last).
			Where("(o.id = ? OR SUBSTR(o.id, 1, ?) = ?)", id, utf8.RuneCountInString(on), on)
	case "user":
		db = s.withID(db, ofUser, named).
			Where("(runs.user_id || '' = ? OR o.kind = 'role-assignment' AND o.id LIKE ? ESCAPE '!')", id, "%/"+likeText.Replace(id)+"/%")
	case "customer":
		db = s.withID(db, ofCustomer, named)
	case "subscription":
		db = s.withID(db, runsOfObject, kind, id, "", last)
	}
	if f.Merchant != "" {
		db = db.Where("runs.merchant_id || '' = ?", f.Merchant) // the operator hides the index, so that the query begins with the id
	}
	return db.Order("o.run_id DESC, o.kind DESC, o.id DESC").Limit(f.Limit), nil
}

// question returns the kind and the id of the project, user, customer or subscription in the filter.
func question(f audit.EntryFilter) (kind, id string, err error) {
	for asked, of := range map[string]string{
		"project": f.ProjectID, "user": f.UserID, "customer": f.CustomerID, "subscription": f.SubscriptionID,
	} {
		switch {
		case of == "":
		case kind != "":
			return "", "", fmt.Errorf("the filter of the ledger has a %s and a %s: set only one of them", kind, asked)
		default:
			kind, id = asked, upstream.Clean(of)
		}
	}
	if kind == "" {
		err = errors.New("the filter of the ledger has no project, user, customer or subscription")
	}
	return kind, id, err
}

// likeText escapes the characters that have a special meaning in the pattern of LIKE ... ESCAPE '!'.
var likeText = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// entryRow is a row of the query of entries.
type entryRow struct {
	Kind, ID, Name, Cloud, Origin string
	RemovedAt                     *int64
	RunID, Workflow, State        string
	MerchantID, Step              string
	At                            int64
	Who, Why, RequestID           string
}
