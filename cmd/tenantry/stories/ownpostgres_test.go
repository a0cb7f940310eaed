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

// ownPostgres is a PostgreSQL of one test.
type ownPostgres struct {
	*daemon

	url  string
	disk *disk // nil if it has no disk of its own, which requires root
}

// postgresRoom is the size of its disk in bytes. An empty cluster takes a quarter of it.
const postgresRoom = 160 << 20

func newPostgres(t testing.TB, h home) *ownPostgres {
	t.Helper()
	t.Log("real: postgres")
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		t.Fatal("PostgreSQL is not installed: run it with `deploy/testservices/run`, which does that")
	}
	p, room := &ownPostgres{}, filepath.Join(h.dir, "postgres.d")
	if p.disk, err = newDisk(t, room, postgresRoom, h.uid()); err != nil {
		t.Logf("PostgreSQL gets no disk of its own, which requires root, so its disk is never full: %v", err)
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

// freeze pauses all of its processes for a time. It returns false if there are none.
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

// suffocate keeps its disk full for a while, even when PostgreSQL frees space, and uses up the space left in its log.
func (p *ownPostgres) suffocate(full time.Duration) error {
	for until := time.Now().Add(full); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if err := p.disk.fill(); err != nil {
			return fmt.Errorf("filling the disk: %w", err)
		}
		p.log1MB()
	}
	return p.disk.free()
}

// log1MB makes PostgreSQL write a megabyte to its log, if it can.
func (p *ownPostgres) log1MB() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	_, _ = conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'chaos', repeat('x', 1000000))") // PostgreSQL's own log has the result
}

// noRoom returns how often PostgreSQL has reported that its disk is full.
func (p *ownPostgres) noRoom() int { return strings.Count(p.printed(), "No space left on device") }
