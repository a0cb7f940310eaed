package store

import (
	"errors"
	"fmt"
	"strings"

	gosqlite "github.com/glebarez/go-sqlite"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The method `explain` adds the remedy to an error if the error means that the database cannot be opened or written. For SQLite, the
// returned error also names the file.
func (s *Store) explain(err error) error {
	if errors.Is(err, saga.ErrReadOnly) || errors.Is(err, saga.ErrDiskFull) {
		return err // explained before
	}
	if readOnly(err) {
		const wrong = "the database server is read-only; Tenantry looks for a server that accepts writes"
		return unavailableError{saga.ErrReadOnly, fmt.Errorf("%s: %w", wrong, err)}
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "53100" {
		return unavailableError{saga.ErrDiskFull, fmt.Errorf("the disk of the database server is full: free some space on the disk: %w", err)}
	}
	refused, ok := errors.AsType[*gosqlite.Error](err)
	if !ok {
		return err
	}
	kind, wrong := saga.ErrUnavailable, ""
	switch code := refused.Code(); { // https://www.sqlite.org/rescode.html
	case code&0xff == 8: // READONLY
		kind, wrong = saga.ErrReadOnly, "cannot be written: allow the user of this process to write the file and its directory"
	case code&0xff == 13, code == 4874: // FULL, and IOERR_SHMSIZE: the disk has no space for the file PATH-shm
		kind, wrong = saga.ErrDiskFull, "cannot be written because its disk is full: free some space on the disk"
	case code&0xff == 14: // CANTOPEN
		wrong = "does not exist, or cannot be read and written: allow the user of this process to read and write the file and its directory"
	default:
		return err
	}
	return unavailableError{kind, fmt.Errorf("%s %s (SQLite error %d)", s.file, wrong, refused.Code())}
}

// explainAll makes gorm apply the method `explain` to the error of every statement.
func (s *Store) explainAll() error {
	explain := func(db *gorm.DB) { db.Error = s.explain(db.Error) }
	all := s.db.Callback()
	for _, last := range []interface {
		Register(name string, f func(*gorm.DB)) error
	}{all.Create(), all.Query(), all.Update(), all.Delete(), all.Row(), all.Raw()} {
		if err := last.Register("tenantry:explain", explain); err != nil {
			return err
		}
	}
	return nil
}

// unavailableError is a saga.ErrUnavailable or a more specific error. The text of an unavailableError is the text of the cause.
type unavailableError struct {
	kind error
	error
}

func (e unavailableError) Unwrap() []error { return []error{e.kind, e.error} }

// The function `redact` removes the password of the database URL from the text of an error.
func redact(err error, url string) error {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		if credentials, _, ok := strings.Cut(rest, "@"); ok {
			if _, password, _ := strings.Cut(credentials, ":"); password != "" && strings.Contains(err.Error(), password) {
				return errors.New(strings.ReplaceAll(err.Error(), password, "***"))
			}
		}
	}
	return err
}

// badRow reports whether the database refused a statement because of the statement's data. The database would refuse such a
// statement again.
func badRow(err error) bool {
	if errors.Is(err, saga.ErrBadRow) {
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Class 22 means invalid data, class 23 a violated constraint, and class 54 an exceeded limit:
		// https://www.postgresql.org/docs/15/errcodes-appendix.html
		return strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23") || strings.HasPrefix(pg.Code, "54")
	}
	return sqliteBadRow(err)
}

func sqliteBadRow(err error) bool {
	refused, ok := errors.AsType[*gosqlite.Error](err)
	if !ok {
		return false
	}
	switch refused.Code() & 0xff {
	case 18, 19, 20, 25: // the errors TOOBIG, CONSTRAINT, MISMATCH and RANGE: https://www.sqlite.org/rescode.html
		return true
	}
	return false
}

func wrapBadRow(err error) error {
	if errors.Is(err, saga.ErrBadRow) {
		return err
	}
	return fmt.Errorf("%w: %w", saga.ErrBadRow, err)
}
