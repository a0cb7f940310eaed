package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The method `filtered` restricts a query to a page of runs, newest first. If the filter has several states, the query reads one index per
// state. Otherwise, the query reads a single index. The query begins at the newest run that can match, and stops when the page is full. For
// runs in rare states there are partial indexes. The database uses a partial index only if the query repeats the condition of the index
// literally.
func (s *Store) filtered(db *gorm.DB, f saga.Filter) *gorm.DB {
	if len(f.States) > 1 && !byID(f) {
		return s.inAnyState(db, f)
	}
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
	if f.Subject != "" && only(f) == saga.Succeeded {
		db = db.Where("runs.ended_at IS NOT NULL")
	}
	order := "runs.id DESC"
	switch column, value := leading(f); {
	case byID(f):
		db = s.few(db, f, first, last)
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
	switch state := string(only(f)); state {
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

// The function `only` returns the filter's state if the filter has exactly one state, and an empty text otherwise.
func only(f saga.Filter) saga.RunState {
	if len(f.States) != 1 {
		return ""
	}
	return f.States[0]
}

// inAnyState restricts a query to a page of runs in any of the states of the filter. For each state, a subquery finds the ids of one
// page. All subqueries are parts of one statement, so a run that changes its state meanwhile is found exactly once.
func (s *Store) inAnyState(db *gorm.DB, f saga.Filter) *gorm.DB {
	var parts []string
	var pages []any
	for _, state := range slices.Compact(slices.Sorted(slices.Values(f.States))) {
		one := f
		one.States = []saga.RunState{state}
		parts = append(parts, "SELECT id FROM (?) AS "+fmt.Sprint("page", len(parts)))
		pages = append(pages, s.filtered(s.db.Table("runs").Select("runs.id"), one))
	}
	return s.withID(db, strings.Join(parts, " UNION ALL "), pages...).Order("runs.id DESC").Limit(f.Limit)
}

// byID reports whether the filter f selects runs by their objects, or selects the runs that need attention. Few runs match such a filter,
// so the query first finds the ids of these runs.
func byID(f saga.Filter) bool { return len(f.Objects) > 0 || !f.Attention.IsZero() }

// runsOfObject finds the runs of an object. The index objects_id contains only ids without a slash.
const runsOfObject = `
	SELECT run_id FROM objects WHERE kind = ? AND id = ? AND id NOT LIKE '%/%' AND run_id >= ? AND run_id < ?`

// runsOfPart finds the runs of a part. A part is an object that belongs to another object, which is called the whole: see [saga.Object].
// The long ids of parts are not in the index objects_id. Therefore, runsOfPart first finds the runs of the whole.
const runsOfPart = `
	SELECT part.run_id FROM objects whole JOIN objects part ON part.run_id = whole.run_id
	WHERE whole.id = ? AND whole.id NOT LIKE '%/%' AND part.kind = ? AND part.id = ? AND whole.run_id >= ? AND whole.run_id < ?`

// runsForAttention finds the runs that need attention. If a follow-up has started a run and the run is compensated, the run needs
// attention until the follow-up starts its next run. A subquery looks up the run of each follow-up. With a join, PostgreSQL might
// read all runs instead.
const runsForAttention = `
	SELECT id FROM runs WHERE attention_at IS NOT NULL AND attention_at <= ? AND id >= ? AND id < ?
	UNION ALL
	SELECT run_id FROM follow_ups WHERE reason IS NOT NULL AND taken_at IS NULL AND run_id >= ? AND run_id < ?
		AND (SELECT ended_at FROM runs WHERE runs.id = follow_ups.run_id) IS NOT NULL`

// The method `few` selects the few runs of a filter for which byID is true. The database must look up the ids of these runs. It must
// not read an index of merchant_id or of another column. Therefore `few` appends an empty text to the value of each column before
// the comparison. No index contains such an expression.
func (s *Store) few(db *gorm.DB, f saga.Filter, first, last string) *gorm.DB {
	for _, o := range f.Objects {
		id, _, belongs := strings.Cut(o.ID, "/")
		if belongs {
			db = s.withID(db, runsOfPart, id, o.Kind, o.ID, first, last)
		} else {
			db = s.withID(db, runsOfObject, o.Kind, id, first, last)
		}
	}
	if !f.Attention.IsZero() {
		db = s.withID(db, runsForAttention, f.Attention.UnixMicro(), first, last, first, last)
	}
	for column, value := range map[string]string{
		"merchant_id": f.Merchant, "user_id": f.User, "subject": f.Subject, "workflow": f.Workflow,
	} {
		if value != "" {
			db = db.Where("runs."+column+" || '' = ?", value)
		}
	}
	if len(f.States) > 0 {
		db = db.Where("runs.state || '' IN ?", f.States)
	}
	return db
}

// withID restricts a query to the runs whose ids the subquery returns. For PostgreSQL, withID turns the ids into an array. Without
// the array, PostgreSQL would read all runs of a merchant and join them with the ids.
func (s *Store) withID(db *gorm.DB, subquery string, args ...any) *gorm.DB {
	if s.postgres() {
		return db.Where("runs.id = ANY (ARRAY("+subquery+"))", args...)
	}
	return db.Where("runs.id IN ("+subquery+")", args...)
}

// The function `leading` chooses the index for the filter f. `leading` returns the index's first column, and the value that f
// requires in this column. The index's second column is the run's id. A query that sorts the runs by the index's first column forces
// PostgreSQL to use the index. Without this sorting, PostgreSQL might overestimate the number of matching runs, and read all runs by id. If
// a merchant has no recent runs, PostgreSQL would then read the recent runs of all other merchants before it finds a run of this merchant.
func leading(f saga.Filter) (column, value string) {
	switch {
	case f.Subject != "" && (f.Live || f.AwaitsRecheck || only(f) == saga.Succeeded):
		return "runs.subject", f.Subject
	case f.User != "":
		return "runs.user_id", f.User
	case f.Workflow != "":
		return "runs.workflow", f.Workflow
	case f.Merchant != "" && (len(f.States) == 0 || only(f).Ended()):
		return "runs.merchant_id", f.Merchant
	case only(f) != "" && only(f) != saga.Succeeded:
		return "runs.state", string(only(f))
	}
	return "", ""
}

// The timestamp in a run's id may be up to clocksApart earlier than the run's creation time. The two times
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
