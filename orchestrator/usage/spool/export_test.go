package spool

import "os"

// OpenWithSync opens a spool that calls a function of the test instead of fsync.
func OpenWithSync(o Options, sync func(*os.File) error) (*Spool, error) { return open(o, sync) }

// OpenSharedWithSync opens a folder of spools that call a function of the test instead of fsync.
func OpenSharedWithSync(o Options, sync func(*os.File) error) (*Shared, error) {
	return openShared(o, sync)
}

// HeaderBytes is the number of bytes that a record needs in addition to its length.
const HeaderBytes = headerBytes
