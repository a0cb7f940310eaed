package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Rights contains the rights that the user in the database URL has on a PostgreSQL server. The zero value describes an SQLite file.
type Rights struct {
	User, Database string // quoted for SQL
	Schema         string // the schema of the tables, quoted for SQL; empty if the user may use no schema of the search path

	MayCreate bool // tables
	MayWrite  bool // the user may write to the tables of this release; true if there are no tables

	// Needed is the number of connections that a replica opens. Capacity is the number of connections that the server's settings permit, and
	// Free is the number of further connections that they permit now.
	Needed, Capacity, Free int
	// Limit names the setting that determines Capacity: "max_connections", "role" or "database".
	Limit string
}

// Rights reads the rights from the server. With a connection pooler, the pooler opens the connections for statements, so Needed is only 1:
// the connection of Listen.
func (s *Store) Rights(ctx context.Context) (Rights, error) {
	if !s.postgres() {
		return Rights{MayCreate: true, MayWrite: true}, nil
	}
	var row struct {
		Name, Database, Schema                 string
		MayCreate, MayWrite                    bool
		RoleLimit, DatabaseLimit               int
		ServerLimit, OfRole, InDatabase, InAll int
	}
	if err := s.db.WithContext(ctx).Raw(pgRights).Scan(&row).Error; err != nil {
		return Rights{}, fmt.Errorf("reading the rights of the database's user: %w", s.explain(err))
	}
	r := Rights{
		User: pgx.Identifier{row.Name}.Sanitize(), Database: pgx.Identifier{row.Database}.Sanitize(), MayCreate: row.MayCreate, MayWrite: row.MayWrite, Needed: poolSize + 1,
		Capacity: row.ServerLimit, Free: row.ServerLimit - row.InAll, Limit: "max_connections",
	}
	if row.Schema != "" {
		r.Schema = pgx.Identifier{row.Schema}.Sanitize()
	}
	if s.pooled() {
		r.Needed = 1
	}
	for _, limit := range []struct {
		name      string
		max, used int
	}{{"role", row.RoleLimit, row.OfRole}, {"database", row.DatabaseLimit, row.InDatabase}} {
		if limit.max >= 0 && limit.max < r.Capacity {
			r.Capacity, r.Limit = limit.max, limit.name
		}
		if limit.max >= 0 {
			r.Free = min(r.Free, limit.max-limit.used)
		}
	}
	return r, nil
}
