package stories_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ownPostgres is a PostgreSQL that only one test uses.
type ownPostgres struct {
	*daemon

	url  string
	disk *disk // nil if the test could not mount a disk; mounting requires root
}

// postgresRoom is the size of PostgreSQL's disk in bytes. An empty database cluster uses a quarter of the disk.
const postgresRoom = 160 << 20

func newPostgres(t testing.TB, h home) *ownPostgres {
	t.Helper()
	t.Log("real: postgres")
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		t.Fatal("PostgreSQL is not installed: run the test with `deploy/testservices/run`, which installs PostgreSQL")
	}
	p, room := &ownPostgres{}, filepath.Join(h.dir, "postgres.d")
	if p.disk, err = newDisk(t, room, postgresRoom, h.uid()); err != nil {
		t.Logf("the test does not fill PostgreSQL's disk, because only root can mount a small disk: %v", err)
	}
	if err := os.MkdirAll(room, 0o700); err != nil {
		t.Fatal(err)
	}
	password, port := uuid.NewString(), freePort(t)
	p.daemon = newDaemon(t, h, "postgres", bins[len(bins)-1], filepath.Join(room, "data"), port, password, "1")
	super := "postgres://postgres:" + password + "@127.0.0.1:" + port + "/"
	p.await(func() error {
		ctx := t.Context()
		conn, err := pgx.Connect(ctx, super+"postgres")
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, "CREATE DATABASE tenantry")
		return err
	})
	p.url = super + "tenantry?sslmode=disable"
	return p
}

// The method `freeze` pauses all processes of PostgreSQL for the duration `asleep`. The result is false if PostgreSQL was not
// running.
func (p *ownPostgres) freeze(asleep time.Duration) (bool, error) {
	pids := p.family()
	var faults []error
	for _, pid := range pids {
		faults = append(faults, syscall.Kill(pid, syscall.SIGSTOP))
	}
	time.Sleep(asleep)
	for _, pid := range pids {
		faults = append(faults, syscall.Kill(pid, syscall.SIGCONT))
	}
	faults = slices.DeleteFunc(faults, func(err error) bool { return errors.Is(err, syscall.ESRCH) }) // the process has ended
	return len(pids) > 0, errors.Join(faults...)
}

// The method `suffocate` keeps PostgreSQL's disk full for the given time, even when PostgreSQL frees space. `suffocate` also uses
// up the free space in PostgreSQL's write-ahead log.
func (p *ownPostgres) suffocate(full time.Duration) error {
	for until := time.Now().Add(full); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if err := p.disk.fill(); err != nil {
			return fmt.Errorf("filling the disk: %w", err)
		}
		p.log1MB()
	}
	return p.disk.free()
}

// log1MB makes PostgreSQL write 1 MB to its write-ahead log, if the disk has room.
func (p *ownPostgres) log1MB() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	// Ignore the error, because noRoom counts the errors in PostgreSQL's output.
	_, _ = conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'chaos', repeat('x', 1000000))")
}

// noRoom returns the number of times that PostgreSQL has reported a full disk.
func (p *ownPostgres) noRoom() int { return strings.Count(p.printed(), "No space left on device") }
