package main

import (
	"context"
	"fmt"
	"syscall"
)

// spaceNeeded estimates from the databases filled so far how much space a larger one needs.
type spaceNeeded struct{ bytesPerRun float64 }

// The size of a finished run with all its rows and index entries, before one was measured. While a database is filled, it needs
// this many times its size, for sorting and the write-ahead log.
const (
	guessedBytes = 16 << 10
	spaceFactor  = 1.4
	spaceBesides = 3 << 30
)

func (s *spaceNeeded) learn(runs int, bytes int64) { s.bytesPerRun = float64(bytes) / float64(runs) }

// check returns an error if the server's disk has no room for that number of runs.
func (s *spaceNeeded) check(ctx context.Context, server *database, runs int) error {
	var directory string
	if err := server.conn.QueryRow(ctx, "SHOW data_directory").Scan(&directory); err != nil {
		return err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(directory, &disk); err != nil {
		return fmt.Errorf("asking for the free space at %s: %w", directory, err)
	}
	each := s.bytesPerRun
	if each == 0 {
		each = guessedBytes
	}
	free, needed := float64(disk.Bavail)*float64(disk.Bsize), each*float64(runs)*spaceFactor+spaceBesides
	if free < needed {
		return fmt.Errorf("%d finished runs need some %.0f GB at %s, where %.0f GB are free: leave them out (make bench-scale SIZES=1000,100000), or make room",
			runs, needed/1e9, directory, free/1e9)
	}
	return nil
}
