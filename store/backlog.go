package store

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// liveRuns counts at most @limit live runs by their situation. A run is due under the same condition as in a claim. The text KIND stands for
// the expression that reads the kind of the run's reason, which is JSON.
const liveRuns = `
SELECT state, kind, leased, due, COUNT(*) AS runs, MIN(created_at) AS oldest FROM (
	SELECT state, created_at, COALESCE(KIND, '') AS kind, replica_id IS NOT NULL AS leased,
		replica_id IS NULL AND due_at IS NOT NULL AND due_at <= @now
			AND (waits_on IS NULL OR waits_on NOT IN @down OR state = 'waiting' AND budget_from < @expired) AS due
	FROM runs WHERE ended_at IS NULL LIMIT @limit
) live GROUP BY state, kind, leased, due ORDER BY state, kind, leased, due`

var (
	liveRunsPostgres = strings.Replace(liveRuns, "KIND", "CAST(reason AS json) ->> 'kind'", 1)
	liveRunsSQLite   = strings.Replace(liveRuns, "KIND", "json_extract(reason, '$.kind')", 1)
)

// Backlog reads the work that is not finished. Its cost does not depend on the number of finished runs, nor on the number of follow-ups that wait
// for their time. Backlog makes seven queries.
func (s *Store) Backlog(ctx context.Context, d saga.Due, l saga.BacklogLimits) (b saga.Backlog, err error) {
	for _, read := range []func(context.Context, saga.Due, saga.BacklogLimits, *saga.Backlog) error{
		s.readReplicas, s.countLiveRuns, s.countAttention, s.readFollowUps,
	} {
		if err := read(ctx, d, l, &b); err != nil {
			return b, fmt.Errorf("reading the backlog: %w", err)
		}
	}
	return b, nil
}

func (s *Store) readReplicas(ctx context.Context, _ saga.Due, l saga.BacklogLimits, b *saga.Backlog) error {
	var rows []replicaRow
	err := columns(s.db.WithContext(ctx)).Order("id DESC").Limit(l.Replicas).Find(&rows).Error
	for _, row := range rows {
		b.Replicas = append(b.Replicas, saga.ReplicaLease{ID: row.ID, Until: at(row.LeaseUntil)})
	}
	return err
}

func (s *Store) countLiveRuns(ctx context.Context, d saga.Due, l saga.BacklogLimits, b *saga.Backlog) error {
	statement := liveRunsSQLite
	if s.postgres() {
		statement = liveRunsPostgres
	}
	values := dueValues(d)
	values["limit"] = l.Count
	var rows []struct {
		State, Kind string
		Leased, Due bool
		Runs        int
		Oldest      int64
	}
	err := s.db.WithContext(ctx).Raw(statement, values).Scan(&rows).Error
	for _, row := range rows {
		b.Runs = append(b.Runs, saga.RunCount{
			State: saga.RunState(row.State), Reason: saga.ReasonKind(row.Kind), Leased: row.Leased, Due: row.Due, Runs: row.Runs, Oldest: at(row.Oldest),
		})
	}
	return err
}

func (s *Store) countAttention(ctx context.Context, d saga.Due, l saga.BacklogLimits, b *saga.Backlog) error {
	return s.db.WithContext(ctx).Raw("SELECT COUNT(*) FROM ("+runsForAttention+" LIMIT ?) found", d.Now.UnixMicro(), "", afterAll, "", afterAll, l.Count).
		Scan(&b.Attention).Error
}

func (s *Store) readFollowUps(ctx context.Context, d saga.Due, l saga.BacklogLimits, b *saga.Backlog) error {
	for _, one := range []struct {
		into  *saga.FollowUpCount
		where func(*gorm.DB) *gorm.DB
	}{
		{&b.Due, func(db *gorm.DB) *gorm.DB { return db.Where("due_at <= ? AND hold IS NULL", d.Now.UnixMicro()) }},
		{&b.Held, func(db *gorm.DB) *gorm.DB { return db.Where("hold IS NOT NULL") }},
	} {
		db := s.db.WithContext(ctx)
		some := one.where(db.Model(&followUpRow{}).Select("due_at")).Order("due_at").Limit(l.Count)
		if err := db.Table("(?) AS found", some).Select("COUNT(*)").Scan(&one.into.Count).Error; err != nil {
			return err
		}
		var rows []followUpRow
		if err := one.where(columns(db)).Order("due_at, workflow, id").Limit(l.FollowUp).Find(&rows).Error; err != nil {
			return err
		}
		for i := range rows {
			f, err := rows[i].followUp()
			if err != nil {
				return err
			}
			one.into.First = append(one.into.First, f)
		}
	}
	return nil
}
