package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// auditRow is a row of the table audits.
type auditRow struct {
	ID        string  `gorm:"column:id;primaryKey"`
	Scope     string  `gorm:"column:scope"`
	AskedBy   string  `gorm:"column:asked_by"`
	CreatedAt int64   `gorm:"column:created_at;autoCreateTime:false"`
	StartedAt *int64  `gorm:"column:started_at"`
	EndedAt   *int64  `gorm:"column:ended_at"`
	State     string  `gorm:"column:state"`
	Progress  string  `gorm:"column:progress"`
	Gaps      *string `gorm:"column:gaps"`
	Found     *string `gorm:"column:found"`
	Read      *string `gorm:"column:read"`
	Failure   string  `gorm:"column:failure"`
	Replica   string  `gorm:"column:replica"`
	BeatAt    *int64  `gorm:"column:beat_at"`
}

// TableName returns the table's name for gorm.
func (auditRow) TableName() string { return "audits" }

// The function `cleaned` applies upstream.Clean to each text in place.
func cleaned(texts ...*string) {
	for _, text := range texts {
		*text = upstream.Clean(*text)
	}
}

// cleanedObjects returns a copy of the objects with cleaned texts.
func cleanedObjects(given []audit.Object) []audit.Object {
	objects := slices.Clone(given)
	for i := range objects {
		cleaned(&objects[i].Kind, &objects[i].ID, &objects[i].Name)
	}
	return objects
}

// cleanedValues returns a copy of the map with cleaned values. The keys need no cleaning, because the program chooses them.
func cleanedValues(given map[string]string) map[string]string {
	values := maps.Clone(given)
	for name, value := range values {
		values[name] = upstream.Clean(value)
	}
	return values
}

func rowOfAudit(a *audit.Audit) (auditRow, error) {
	row := auditRow{
		ID: a.ID, AskedBy: a.By, CreatedAt: a.CreatedAt.UnixMicro(), EndedAt: micros(a.EndedAt), State: string(a.State),
		Failure: a.Failure, BeatAt: micros(a.BeatAt),
	}
	scope, progress, gaps := a.Scope, a.Progress, slices.Clone(a.Gaps)
	cleaned(&row.ID, &row.AskedBy, &row.Failure, &progress.Phase, &scope.MerchantID, &scope.CustomerID, &scope.Cloud, &scope.ProjectID)
	for i := range gaps {
		cleaned(&gaps[i].Code, &gaps[i].Cloud, &gaps[i].MerchantID, &gaps[i].Detail)
	}
	err := errors.Join(
		encodeText(&row.Scope, scope), encodeText(&row.Progress, progress), encode(&row.Gaps, gaps, len(gaps) == 0),
		encode(&row.Found, a.Found, len(a.Found) == 0), encode(&row.Read, a.Read, len(a.Read) == 0),
	)
	return row, err
}

func (row *auditRow) audit() (audit.Audit, error) {
	a := audit.Audit{
		ID: row.ID, By: row.AskedBy, CreatedAt: at(row.CreatedAt), StartedAt: maybeAt(row.StartedAt), EndedAt: maybeAt(row.EndedAt),
		State: audit.State(row.State), Failure: row.Failure, Replica: row.Replica, BeatAt: maybeAt(row.BeatAt),
	}
	err := errors.Join(
		decode(&row.Scope, &a.Scope), decode(&row.Progress, &a.Progress), decode(row.Gaps, &a.Gaps), decode(row.Found, &a.Found),
		decode(row.Read, &a.Read),
	)
	if err != nil {
		err = fmt.Errorf("decoding audit %s: %w", row.ID, err)
	}
	return a, err
}

// findingRow is a row of the table findings.
type findingRow struct {
	ID             string  `gorm:"column:id;primaryKey"`
	Code           string  `gorm:"column:code"`
	Severity       string  `gorm:"column:severity"`
	Cloud          string  `gorm:"column:cloud"`
	MerchantID     string  `gorm:"column:merchant_id"`
	CustomerID     string  `gorm:"column:customer_id"`
	SubscriptionID string  `gorm:"column:subscription_id"`
	ProjectID      string  `gorm:"column:project_id"`
	UserID         string  `gorm:"column:user_id"`
	Objects        *string `gorm:"column:objects"`
	Detail         string  `gorm:"column:detail"`
	Affected       string  `gorm:"column:affected"`
	RunID          string  `gorm:"column:run_id"`
	Repair         string  `gorm:"column:repair"`
	Status         string  `gorm:"column:status"`
	FirstSeen      int64   `gorm:"column:first_seen"`
	LastSeen       int64   `gorm:"column:last_seen"`
	FirstAudit     string  `gorm:"column:first_audit"`
	LastAudit      string  `gorm:"column:last_audit"`
	ResolvedAt     *int64  `gorm:"column:resolved_at"`
	Acceptance     *string `gorm:"column:acceptance"`
	Changes        int64   `gorm:"column:changes"`
}

// TableName returns the table's name for gorm.
func (findingRow) TableName() string { return "findings" }

// rowOfFinding returns a row with the columns that an audit determines. The column `status` and all columns after it stay empty.
func rowOfFinding(f *audit.Finding) (findingRow, error) {
	row := findingRow{
		ID: f.ID, Code: string(f.Code), Severity: string(f.Severity), Cloud: f.Cloud, MerchantID: f.MerchantID, CustomerID: f.CustomerID,
		SubscriptionID: f.SubscriptionID, ProjectID: f.ProjectID, UserID: f.UserID, Detail: f.Detail, Affected: f.Affected, RunID: f.RunID,
	}
	cleaned(&row.ID, &row.Code, &row.Severity, &row.Cloud, &row.MerchantID, &row.CustomerID, &row.SubscriptionID, &row.ProjectID,
		&row.UserID, &row.Detail, &row.Affected, &row.RunID)
	objects, repair := cleanedObjects(f.Objects), f.Repair
	repair.Advice, repair.Values = upstream.Clean(repair.Advice), cleanedValues(repair.Values)
	return row, errors.Join(encode(&row.Objects, objects, len(objects) == 0), encodeText(&row.Repair, repair))
}

func (row *findingRow) finding() (audit.Finding, error) {
	f := audit.Finding{
		ID: row.ID, Code: audit.Code(row.Code), Severity: audit.Severity(row.Severity), Cloud: row.Cloud, MerchantID: row.MerchantID,
		CustomerID: row.CustomerID, SubscriptionID: row.SubscriptionID, ProjectID: row.ProjectID, UserID: row.UserID, Detail: row.Detail,
		Affected: row.Affected, RunID: row.RunID, Status: audit.Status(row.Status), FirstSeen: at(row.FirstSeen),
		LastSeen: at(row.LastSeen), FirstAudit: row.FirstAudit, LastAudit: row.LastAudit, ResolvedAt: maybeAt(row.ResolvedAt),
	}
	err := errors.Join(decode(row.Objects, &f.Objects), decode(&row.Repair, &f.Repair), decode(row.Acceptance, &f.Acceptance))
	if err != nil {
		err = fmt.Errorf("decoding finding %s: %w", row.ID, err)
	}
	return f, err
}

// changeRow is a row of the table finding_changes.
type changeRow struct {
	FindingID string `gorm:"column:finding_id;primaryKey"`
	Seq       int64  `gorm:"column:seq;primaryKey;autoIncrement:false"`
	At        int64  `gorm:"column:at"`
	Status    string `gorm:"column:status"`
	AuditID   string `gorm:"column:audit_id"`
	Who       string `gorm:"column:who"`
	Why       string `gorm:"column:why"`
	Until     *int64 `gorm:"column:until"`
}

// TableName returns the table's name for gorm.
func (changeRow) TableName() string { return "finding_changes" }

func (row *changeRow) change() audit.Change {
	return audit.Change{
		At: at(row.At), Status: audit.Status(row.Status), AuditID: row.AuditID, Who: row.Who, Why: row.Why, Until: maybeAt(row.Until),
	}
}

func encodeText(column *string, value any) error {
	encoded, err := json.Marshal(value)
	*column = string(encoded)
	return err
}
