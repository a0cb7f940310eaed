package spool

import "os"

// OpenWithSync opens a spool that calls a function of the test instead of fsync.
func OpenWithSync(o Options, sync func(*os.File) error) (*Spool, error) { return open(o, sync) }

// HeaderBytes is the number of bytes that a record needs in addition to its length.
const HeaderBytes = headerBytes
