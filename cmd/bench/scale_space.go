package main

import (
	"context"
	"fmt"
	"syscall"
)

// spaceNeeded estimates the disk space that a database needs. The estimate uses the size of the previous database.
type spaceNeeded struct{ bytesPerRun float64 }

const (
	guessedBytes = 16 << 10 // assumed bytes per finished run with its index entries, used for the first database
	spaceFactor  = 1.4      // disk space that the fill needs (with sort files and WAL), divided by the database's size
	spaceBesides = 3 << 30  // additional bytes, the same for any number of runs
)

func (s *spaceNeeded) learn(runs int, bytes int64) { s.bytesPerRun = float64(bytes) / float64(runs) }

// The method `check` returns an error if the server's disk has too little free space for the given number of finished runs.
func (s *spaceNeeded) check(ctx context.Context, server *database, runs int) error {
	var directory string
	if err := server.conn.QueryRow(ctx, "SHOW data_directory").Scan(&directory); err != nil {
		return err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(directory, &disk); err != nil {
		return fmt.Errorf("reading the free space at %s: %w", directory, err)
	}
	each := s.bytesPerRun
	if each == 0 {
		each = guessedBytes
	}
	free, needed := float64(disk.Bavail)*float64(disk.Bsize), each*float64(runs)*spaceFactor+spaceBesides
	if free < needed {
		return fmt.Errorf("%d finished runs need about %.0f GB, but %s has only %.0f GB free: free some space, or measure fewer runs (make bench-scale SIZES=1000,100000)",
			runs, needed/1e9, directory, free/1e9)
	}
	return nil
}
