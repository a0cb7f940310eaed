package store

import (
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// filtered restricts a query to a page of runs, newest first. The query reads a single index. The query begins at the newest run
// that can match, and stops when the page is full. For runs in rare states there are partial indexes. The database uses a partial
// index only if the query repeats the condition of the index literally.
func (s *Store) filtered(db *gorm.DB, f saga.Filter) *gorm.DB {
	first, last := "", afterAll
	if !f.Since.IsZero() {
		db = db.Where("runs.created_at >= ?", f.Since.UnixMicro())
		first = firstID(f.Since.Add(-clocksApart))
	}
	if f.Before != "" {
		last = f.Before
	}
	if f.Live {
		db = db.Where("runs.ended_at IS NULL")
	}
	if f.AwaitsRecheck {
		db = db.Where("runs.rechecks > 0")
	}
	if f.Subject != "" && f.State == saga.Succeeded {
		db = db.Where("runs.ended_at IS NOT NULL")
	}
	order := "runs.id DESC"
	switch column, value := leading(f); {
	case byObject(f):
		db = s.madeAny(db, f, first, last)
	case column != "":
		order = column + " DESC, " + order
		db = matching(db, f).Where("("+column+", runs.id) >= (?, ?) AND ("+column+", runs.id) < (?, ?)", value, first, value, last)
	case first != "" || last != afterAll:
		db = matching(db, f).Where("runs.id >= ? AND runs.id < ?", first, last)
	default:
		db = matching(db, f)
	}
	return db.Order(order).Limit(f.Limit)
}

func matching(db *gorm.DB, f saga.Filter) *gorm.DB {
	if f.Merchant != "" {
		db = db.Where("runs.merchant_id = ?", f.Merchant)
	}
	if f.User != "" {
		db = db.Where("runs.user_id = ?", f.User)
	}
	if f.Subject != "" {
		db = db.Where("runs.subject = ?", f.Subject)
	}
	if f.Workflow != "" {
		db = db.Where("runs.workflow = ?", f.Workflow)
	}
	switch state := string(f.State); state {
	case "":
	case string(saga.Succeeded):
		db = db.Where("runs.state = 'succeeded'")
	case string(saga.Compensated):
		db = db.Where("runs.state = 'compensated' AND runs.state <> 'succeeded'")
	default:
		db = db.Where("runs.state = ? AND runs.state <> 'succeeded'", state)
	}
	return db
}

// byObject reports whether the filter f contains objects. Such a filter selects the runs that made or adopted all these objects.
func byObject(f saga.Filter) bool { return len(f.Objects) > 0 }

// madeAny selects the few runs that made or adopted all objects of the filter. The database must look up these runs in the table
// objects, and not read an index of merchant_id or of another column. Therefore madeAny appends an empty text to the value of each
// column before the comparison: no index contains such an expression. For PostgreSQL, madeAny also turns the ids of the runs into
// an array. Without the array, PostgreSQL would read all runs of a merchant and join them with the objects.
func (s *Store) madeAny(db *gorm.DB, f saga.Filter, first, last string) *gorm.DB {
	made := "runs.id IN (SELECT run_id FROM objects WHERE kind = ? AND id = ? AND run_id >= ? AND run_id < ?)"
	if s.postgres() {
		made = "runs.id = ANY (ARRAY(SELECT run_id FROM objects WHERE kind = ? AND id = ? AND run_id >= ? AND run_id < ?))"
	}
	for _, o := range f.Objects {
		db = db.Where(made, o.Kind, o.ID, first, last)
	}
	for column, value := range map[string]string{
		"merchant_id": f.Merchant, "user_id": f.User, "subject": f.Subject, "workflow": f.Workflow, "state": string(f.State),
	} {
		if value != "" {
			db = db.Where("runs."+column+" || '' = ?", value)
		}
	}
	return db
}

// leading chooses the index for the filter f. leading returns the index's first column, and the value that f requires in this
// column. The index's second column is the run's id. A query that orders the runs by the index's first column forces PostgreSQL to
// use the index. Without this order, PostgreSQL might overestimate how many runs match, and read all runs by id. If a merchant has
// no recent runs, PostgreSQL would then read the recent runs of all other merchants before it finds a run of this merchant.
func leading(f saga.Filter) (column, value string) {
	switch {
	case f.Subject != "" && (f.Live || f.AwaitsRecheck || f.State == saga.Succeeded):
		return "runs.subject", f.Subject
	case f.User != "":
		return "runs.user_id", f.User
	case f.Workflow != "":
		return "runs.workflow", f.Workflow
	case f.Merchant != "" && (f.State == "" || f.State.Ended()):
		return "runs.merchant_id", f.Merchant
	case f.State != "" && f.State != saga.Succeeded:
		return "runs.state", string(f.State)
	}
	return "", ""
}

// clocksApart is the maximum time by which the timestamp in a run's id may be earlier than the run's creation time. The two times
// come from different clocks.
const clocksApart = 24 * time.Hour

// afterAll sorts after all run ids, because run ids begin with a hexadecimal digit.
const afterAll = "z"

// firstID returns an id that sorts before the ids of all runs that are created at or after the given time. Run ids are UUIDs of
// version 7, which begin with the time in milliseconds.
func firstID(at time.Time) string {
	ms := min(max(0, at.UnixMilli()), 1<<48-1)
	return fmt.Sprintf("%08x-%04x-0000-0000-000000000000", ms>>16, ms&0xffff)
}
