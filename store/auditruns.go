package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// runsAtATime is the number of runs or entries that EachRun or EachUnmatched reads at a time. The runs and their steps need some MiB of memory.
const runsAtATime = 300

// EachRun calls take for each run that the filter selects, as audit.Store specifies. EachRun holds no connection while take is called.
func (t *Audits) EachRun(ctx context.Context, f audit.RunFilter, take func(*saga.Run) error) error {
	page := ledgerPage{store: t.store, rows: make([]ledgerRow, 0, t.page), steps: make([]outputRow, 0, 4*t.page)}
	after := ""
	for {
		runs, err := page.read(ctx, func(db *gorm.DB) *gorm.DB { return t.store.runsAfter(db, f, after).Limit(t.page) })
		if err != nil || len(runs) == 0 {
			return err
		}
		for _, r := range runs {
			if err := take(r); err != nil {
				return err
			}
		}
		after = runs[len(runs)-1].ID
	}
}

// ledgerRow has the columns that EachRun reads of a succeeded run. Nearly all runs have succeeded. Of such a run, EachRun reads only these
// columns, and only the steps with an output. It does not read the objects.
type ledgerRow struct {
	ID              string `gorm:"column:id"`
	Workflow        string `gorm:"column:workflow"`
	WorkflowVersion int    `gorm:"column:workflow_version"`
	MerchantID      string `gorm:"column:merchant_id"`
	Cloud           string `gorm:"column:cloud"`
	Subject         string `gorm:"column:subject"`
	State           string `gorm:"column:state"`
	Input           string `gorm:"column:input"`
	PinnedSteps     string `gorm:"column:pinned_steps"`
	Version         int64  `gorm:"column:version"`
	EndedAt         *int64 `gorm:"column:ended_at"`
}

const ledgerColumns = `runs.id, runs.workflow, runs.workflow_version, runs.merchant_id, runs.cloud, runs.subject, runs.state, runs.input,
	runs.pinned_steps, runs.version, runs.ended_at`

// outputRow contains the output of a step.
type outputRow struct {
	RunID  string `gorm:"column:run_id"`
	Name   string `gorm:"column:name"`
	Output string `gorm:"column:output"`
}

// ledgerPage reads one page of runs after another. It reuses its slices for each page.
type ledgerPage struct {
	store *Store
	rows  []ledgerRow
	steps []outputRow

	pinned string         // the pinned steps of the last run; most often, the next run has the same steps
	pins   []saga.StepRow // the steps that `pinned` encodes
}

// The method `read` reads a page of runs. For the succeeded runs, it makes two queries, which read only the columns of ledgerRow and
// outputRow. It reads all other runs completely.
func (p *ledgerPage) read(ctx context.Context, where func(*gorm.DB) *gorm.DB) ([]*saga.Run, error) {
	db := p.store.db.WithContext(ctx)
	p.rows, p.steps = p.rows[:0], p.steps[:0] // if a query finds no rows, Scan does not empty the slice
	if err := where(db.Table("runs").Select(ledgerColumns)).Scan(&p.rows).Error; err != nil {
		return nil, fmt.Errorf("reading runs: %w", err)
	}
	runs, at := make([]*saga.Run, len(p.rows)), make(map[string]int, len(p.rows))
	var succeeded, others []string
	for i := range p.rows {
		row := &p.rows[i]
		at[row.ID] = i
		if saga.RunState(row.State) != saga.Succeeded {
			others = append(others, row.ID)
			continue
		}
		var err error
		if runs[i], err = p.run(row); err != nil {
			return nil, fmt.Errorf("decoding run %s: %w", row.ID, err)
		}
		succeeded = append(succeeded, row.ID)
	}
	if len(succeeded) > 0 {
		err := db.Table("steps").Select("run_id, name, output").Where("run_id IN ? AND output IS NOT NULL", succeeded).Scan(&p.steps).Error
		if err != nil {
			return nil, fmt.Errorf("reading steps: %w", err)
		}
		for i := range p.steps {
			row := &p.steps[i]
			if step := runs[at[row.RunID]].Step(row.Name); step != nil {
				step.Output = json.RawMessage(row.Output)
			}
		}
	}
	if len(others) > 0 {
		whole, err := p.store.read(ctx, func(db *gorm.DB) *gorm.DB { return db.Where("runs.id IN ?", others) })
		if err != nil {
			return nil, err
		}
		for _, r := range whole {
			runs[at[r.ID]] = r
		}
	}
	return runs, nil
}

// The method `run` returns a succeeded run with the fields that audit.Store specifies.
func (p *ledgerPage) run(row *ledgerRow) (*saga.Run, error) {
	if row.PinnedSteps != p.pinned || p.pins == nil {
		var err error
		if p.pins, err = pinned(row.PinnedSteps); err != nil {
			return nil, err
		}
		p.pinned = row.PinnedSteps
	}
	return &saga.Run{
		ID: row.ID, Workflow: row.Workflow, WorkflowVersion: row.WorkflowVersion, Merchant: row.MerchantID, Cloud: row.Cloud, Subject: row.Subject,
		State: saga.RunState(row.State), Input: json.RawMessage(row.Input), Version: row.Version, EndedAt: maybeAt(row.EndedAt),
		Steps: slices.Clone(p.pins),
	}, nil
}

// runsOfSubject finds the runs of a subject. Each SELECT uses a different index.
const runsOfSubject = `
	SELECT id FROM runs WHERE subject = ? AND ended_at IS NULL AND id > ?
	UNION ALL
	SELECT id FROM runs WHERE subject = ? AND ended_at IS NOT NULL AND id > ?`

// runsAfter restricts a query to the runs that the filter selects and whose ids are greater than `after`, oldest first. If the
// filter has a run, a subject or an object, the query looks up the few runs that match. This query compares an expression that appends an
// empty text to merchant_id, so that the database does not read the index of merchants: see the method `few`. For any other filter, the
// query reads the runs by merchant or by id.
func (s *Store) runsAfter(db *gorm.DB, f audit.RunFilter, after string) *gorm.DB {
	subject, merchant := upstream.Clean(f.Subject), upstream.Clean(f.MerchantID)
	if f.ID != "" {
		db = db.Where("runs.id = ?", upstream.Clean(f.ID))
	}
	if f.Subject != "" {
		db = s.withID(db, runsOfSubject, subject, after, subject, after)
	}
	if f.Object != nil {
		kind, id := upstream.Clean(f.Object.Kind), upstream.Clean(f.Object.ID)
		if whole, _, belongs := strings.Cut(id, "/"); belongs {
			db = s.withID(db, runsOfPart, whole, kind, id, after, afterAll)
		} else {
			db = s.withID(db, runsOfObject, kind, id, after, afterAll)
		}
	}
	if len(f.Except) > 0 {
		db = db.Where("runs.workflow NOT IN ?", f.Except)
	}
	switch few := f.ID != "" || f.Subject != "" || f.Object != nil; {
	case f.MerchantID != "" && few:
		return db.Where("runs.merchant_id || '' = ? AND runs.id > ?", merchant, after).Order("runs.id")
	case f.MerchantID != "":
		return db.Where("(runs.merchant_id, runs.id) > (?, ?) AND runs.merchant_id <= ?", merchant, after, merchant).
			Order("runs.merchant_id, runs.id")
	}
	return db.Where("runs.id > ?", after).Order("runs.id")
}
