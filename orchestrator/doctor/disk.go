package doctor

import (
	"cmp"
	"context"
	"path/filepath"
	"syscall"
)

const mib = 1 << 20

// Less free space than `scarce` is a fault, because SQLite and the spool will soon stop. Less free
// space than `low` is a warning.
const (
	scarce = 64 * mib
	low    = 1024 * mib
)

// The function `disk` looks at the file systems of this host that the service writes to.
func disk(_ context.Context, x *examination) []Line {
	var lines []Line
	if path := x.sqliteFile(); path != "" {
		lines = append(lines, space("database", existing(dirOf(path)), low))
	}
	if x.UsageSpool != "" {
		lines = append(lines, space("spool", existing(x.UsageSpool), uint64(max(cmp.Or(x.UsageSpoolMiB, 1024), 0))*mib))
	}
	if len(lines) == 0 {
		return []Line{skipped("not assessed: PostgreSQL does not show the free space on its disk, and nothing else is stored")}
	}
	return lines
}

// The function `space` returns the line about the file system of a folder. Less free space than `wanted` is a warning.
func space(what, dir string, wanted uint64) Line {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return skipped("%s: not assessed: reading the free space of %s: %v", what, dir, err)
	}
	free := s.Bavail * uint64(s.Bsize) //nolint:gosec // the size of a block is positive
	fix := instruction("free some space on the file system of %s, or move the %s to another file system", dir, what)
	switch {
	case free < scarce:
		return fail(fix, "%s: only %d MiB are free in %s", what, free/mib, dir)
	case free < wanted:
		return warn(fix, "%s: %d MiB are free in %s, but at least %d MiB should be free", what, free/mib, dir, wanted/mib)
	}
	return ok("%s: %d MiB are free in %s", what, free/mib, dir)
}

func dirOf(path string) string { return filepath.Dir(path) }

// An idle replica has about 30 open files. Up to 384 orders are admitted at once, and each has a connection. Another 384 callers may wait
// for their runs or watch events.
const (
	idleFiles   = 40
	callerFiles = 2 * 384
	poolFiles   = 17
)

// The function `openFiles` looks at the limit of this process. At its start, a program in Go raises the limit to the hard limit.
func openFiles(ctx context.Context, x *examination) []Line {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return []Line{skipped("not assessed: %v", err)}
	}
	needed := uint64(idleFiles+callerFiles+poolFiles) + uint64(x.KeystoneConnections*len(x.needs(ctx))+2*x.BillingConnections) //nolint:gosec // they are positive
	if limit.Cur < needed {
		enough := max(4096, needed)
		return []Line{fail(instruction("raise the hard limit of open files for the service to %d: LimitNOFILE=%[1]d with systemd, or nofile in /etc/security/limits.conf", enough),
			"a process may open %d files, and the service needs up to %d with this configuration", limit.Cur, needed)}
	}
	return []Line{ok("a process may open %d files, and the service needs up to %d", limit.Cur, needed)}
}
