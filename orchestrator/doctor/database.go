package doctor

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/store"
)

func database(ctx context.Context, x *examination) []Line {
	address := store.Address(x.DatabaseURL)
	if path := x.sqliteFile(); path != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			dir := existing(path)
			if err := writable(dir); err != nil {
				return []Line{fail(instruction("allow the user of the service to write the folder %s, or set TENANTRY_DATABASE_URL to another path", dir),
					"%s does not exist, and cannot be created: %v", path, err)}
			}
			return []Line{ok("%s does not exist; the first start creates it", address)}
		}
	}
	s, err := store.OpenAny(ctx, x.DatabaseURL, x.DatabaseListenURL)
	if wrong, is := errors.AsType[*store.WrongURLError](err); is {
		return []Line{fail(instruction("set both URLs as \"PgBouncer\" in docs/operations.md describes"), "%v", wrong)}
	}
	if err != nil {
		fix := instruction("start PostgreSQL at %s, or set TENANTRY_DATABASE_URL to the right server, user, password and database", address)
		if x.DatabaseListenURL != "" {
			fix = instruction("start the server that the error names, or set TENANTRY_DATABASE_URL (%s) and TENANTRY_DATABASE_LISTEN_URL (%s) to the right servers, users, "+
				"passwords and databases", address, store.Address(x.DatabaseListenURL))
		}
		if x.sqliteFile() != "" {
			fix = instruction("allow the user of the service to read and write the file and its folder, or set TENANTRY_DATABASE_URL to another path")
		}
		return []Line{fail(fix, "%v", err)}
	}
	x.store = s
	return []Line{ok("%s", address)}
}

func schema(ctx context.Context, x *examination) []Line {
	if x.store == nil {
		return []Line{ok("the first start creates the tables")}
	}
	found, err := x.store.Schema(ctx)
	x.schema = found
	switch {
	case err != nil:
		return []Line{fail(instruction("allow the user of the database to read the tables"), "%v", err)}
	case found.Version > found.Release:
		return []Line{fail(instruction("use the release of Tenantry that migrated the database, or a newer one"),
			"the database has version %d of the schema, and this release knows only version %d", found.Version, found.Release)}
	case found.Version > 0 && found.Version < found.Release:
		return []Line{fail(command("tenantry", "migrate"),
			"the database has version %d of the schema, and this release needs version %d; first stop the servers of the older release",
			found.Version, found.Release)}
	case found.Version == 0:
		return []Line{ok("the database has no tables; the first start creates them")}
	}
	return []Line{ok("version %d", found.Version)}
}

func rights(ctx context.Context, x *examination) []Line {
	if x.store == nil {
		return []Line{ok("the first start creates the file")}
	}
	r, err := x.store.Rights(ctx)
	switch {
	case err != nil:
		return []Line{fail(instruction("allow the user of the database to read PostgreSQL's catalog"), "%v", err)}
	case r.Schema == "" && r.User != "":
		return []Line{fail(instruction("create a schema for the user of the database, or set its search_path"),
			"the user %s may use no schema of its search_path", r.User)}
	case !r.MayCreate && x.schema.Version == 0:
		return []Line{fail(Fix{SQL, "GRANT CREATE ON SCHEMA " + r.Schema + " TO " + r.User}, "the user %s may not create tables in the schema %s", r.User, r.Schema)}
	case !r.MayWrite:
		return []Line{fail(Fix{SQL, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + r.Schema + " TO " + r.User},
			"the user %s may not read and write all tables", r.User)}
	case !r.MayCreate:
		return []Line{warn(Fix{SQL, "GRANT CREATE ON SCHEMA " + r.Schema + " TO " + r.User},
			"the user %s may not create tables in the schema %s, so the next release cannot migrate the database", r.User, r.Schema)}
	}
	if r.User == "" {
		path := x.sqliteFile()
		const write = 2
		if err := cmp.Or(writable(existing(dirOf(path))), syscall.Access(path, write)); err != nil {
			return []Line{fail(instruction("allow the user of the service to write the file and its folder"), "%s or its folder cannot be written: %v", path, err)}
		}
	}
	return []Line{ok("the tables can be read and written")}
}

func secretKey(ctx context.Context, x *examination) []Line {
	key, source := x.SecretKey, "TENANTRY_SECRET_KEY"
	var lines []Line
	if key == nil && x.ReadKey != nil {
		source = x.KeyFile
		if info, err := os.Stat(x.KeyFile); err == nil && info.Mode()&0o077 != 0 {
			lines = append(lines, fail(protect(x.KeyFile, info), "other users may read or change %s, which contains the secret key", x.KeyFile))
		}
		var err error
		if key, err = x.ReadKey(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fix := instruction("restore %s from the backup", x.KeyFile)
			if errors.Is(err, fs.ErrPermission) {
				fix = instruction("type tenantry doctor as the user of the service, who must own %s", x.KeyFile)
			}
			return append(lines, fail(fix, "%v", err))
		}
	}
	known, same := false, false
	if x.store != nil && x.schema.Version > 0 {
		var err error
		if known, same, err = x.store.HasKey(ctx, key); err != nil {
			return append(lines, skipped("not assessed: %v", err))
		}
	}
	const elsewhere = "a backup of the database, or another replica, has the right key"
	switch {
	case key == nil && known:
		lines = append(lines, fail(instruction("restore the key: %s", elsewhere), "%s is missing, and the database was created with a secret key", source))
	case key == nil && x.ReadKey == nil:
		lines = append(lines, fail(setting("TENANTRY_SECRET_KEY=\"$(openssl rand -base64 32)\""), "%s is not set; store the key, because all replicas need the same key, and it cannot be changed later", source))
	case key == nil:
		return append(lines, ok("the first start creates %s", source))
	case known && !same:
		lines = append(lines, fail(instruction("correct the key: %s", elsewhere), "the database was created with another secret key than the key in %s", source))
	}
	if x.schema.Version == 0 {
		return orOK(lines, "%s is valid", source)
	}
	return orOK(lines, "%s is the key of the database", source)
}

func connections(ctx context.Context, x *examination) []Line {
	if x.sqliteFile() != "" {
		return []Line{ok("SQLite needs no connections")}
	}
	r, err := x.store.Rights(ctx)
	if err != nil {
		return []Line{skipped("not assessed: %v", err)}
	}
	fix := map[string]Fix{
		"max_connections": {Instruction, "set max_connections in postgresql.conf to at least 20 for each replica, and restart PostgreSQL"},
		"role":            {SQL, "ALTER ROLE " + r.User + " CONNECTION LIMIT -1"},
		"database":        {SQL, "ALTER DATABASE " + r.Database + " CONNECTION LIMIT -1"},
	}[r.Limit]
	switch {
	case r.Capacity < r.Needed:
		return []Line{fail(fix, "a replica opens up to %d connections to PostgreSQL, and the limit of the %s is %d", r.Needed, limitName(r.Limit), r.Capacity)}
	case r.Free < r.Needed:
		return []Line{warn(fix, "a replica opens up to %d connections to PostgreSQL, and %d of %d are free (%s)", r.Needed, max(r.Free, 0), r.Capacity, limitName(r.Limit))}
	}
	return []Line{ok("%d of %d connections to PostgreSQL are free, and a replica opens up to %d", r.Free, r.Capacity, r.Needed)}
}

func limitName(limit string) string {
	if limit == "max_connections" {
		return "server"
	}
	return limit
}

func clockOfDatabase(ctx context.Context, x *examination) []Line {
	if x.sqliteFile() != "" {
		return []Line{ok("SQLite uses the clock of this host")}
	}
	var s skew
	for range 2 { // the first statement of a connection takes longer
		before := time.Now()
		now, err := x.store.Time(ctx)
		if err != nil {
			return []Line{skipped("not assessed: %v", err)}
		}
		s.see(before, time.Now(), now, 0)
	}
	return s.line("the database server")
}
