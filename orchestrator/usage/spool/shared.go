package spool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Shared is a folder with a spool for each of several owners. The spools share Options.MaxBytes: if there are n owners, the files of each owner may
// have the n-th part of Options.MaxBytes. A single owner may therefore use all of it. If an owner has used more than its part before further owners
// came, it gets no more space until its files are smaller. Meanwhile, the further owners get the space that is left.
//
// The spool of an owner is in a subfolder of its own, with the owner's name. The spool of the owner "" is in the folder itself. Shared is safe
// for concurrent use.
type Shared struct {
	Options

	sync func(*os.File) error

	mu     sync.Mutex
	closed bool
	spools map[string]*Spool // by owner
	share  map[string]bool   // the owners that share MaxBytes
}

// subfolder is the end of the names of subfolders.
const subfolder = ".owner"

// OpenShared opens the folder and the spools in it. Owners whose records wait share MaxBytes from the beginning. OpenShared fails if Open
// fails for the folder or for one of the spools.
func OpenShared(o Options) (*Shared, error) { return openShared(o, (*os.File).Sync) }

func openShared(o Options, sync func(*os.File) error) (_ *Shared, err error) {
	root, err := open(o, sync) // the lock of this folder is the lock of its subfolders, too
	if err != nil {
		return nil, err
	}
	s := &Shared{Options: root.Options, sync: sync, spools: map[string]*Spool{"": root}, share: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	owners, err := ownersIn(s.Folder)
	if err != nil {
		return nil, fmt.Errorf("opening the spools in %s: %w", s.Folder, err)
	}
	for _, owner := range owners {
		if _, err := s.of(owner); err != nil {
			return nil, err
		}
	}
	for _, owner := range s.Waiting() {
		s.share[owner] = true
	}
	return s, nil
}

// ownersIn returns the owners whose subfolders are in a folder. Other subfolders are ignored.
func ownersIn(folder string) (owners []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		escaped, found := strings.CutSuffix(e.Name(), subfolder)
		if owner, err := url.QueryUnescape(escaped); found && err == nil && e.IsDir() && folderOf(owner) == e.Name() {
			owners = append(owners, owner)
		}
	}
	return owners, nil
}

// maxName is the maximum length of the name of a subfolder, without its end. File systems allow 255 bytes.
const maxName = 200

func folderOf(owner string) string { return url.QueryEscape(owner) + subfolder }

// The function `short` returns the name of an owner. If the name is too long for a folder, `short` returns a hash of the name.
func short(owner string) string {
	if len(url.QueryEscape(owner)) <= maxName {
		return owner
	}
	hash := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(hash[:])
}

// Join counts an owner among the owners that share MaxBytes. Call Join early: before the call, the other owners may use all space. Join may be
// repeated.
func (s *Shared) Join(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share[short(owner)] = true
}

// Append adds a record of an owner, as Spool.Append does. Append also returns ErrFull if the owner has used its part of MaxBytes. Append
// also joins the owner: see Join.
func (s *Shared) Append(owner string, record []byte) error {
	if len(record) > MaxRecordBytes {
		return fmt.Errorf("appending to the spool of %s: a record has %d bytes, but at most %d are allowed; split it", owner, len(record), MaxRecordBytes)
	}
	spool, err := s.reserve(short(owner), frameBytes(record))
	if err == nil {
		err = spool.appendReserved(record)
	}
	if err != nil {
		return fmt.Errorf("appending %d bytes to the spool of %s in %s: %w", len(record), owner, s.Folder, err)
	}
	return nil
}

// The method `reserve` reserves space for a record. The space of all spools grows only here, while mu is locked.
func (s *Shared) reserve(owner string, size int64) (*Spool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.share[owner] = true
	spool, err := s.of(owner)
	if err != nil {
		return nil, failure(err)
	}
	used, err := s.used(false)
	if err == nil && used+size > s.MaxBytes {
		used, err = s.used(true)
	}
	if err != nil {
		return nil, err
	}
	own, err := spool.occupied(false)
	if err != nil {
		return nil, err
	}
	return spool, spool.reserve(size, min(s.MaxBytes/int64(len(s.share)), s.MaxBytes-used+own))
}

// The method `used` returns the number of bytes that all spools have used. If `recount` is true, it finds out whether damaged files were
// deleted.
func (s *Shared) used(recount bool) (all int64, err error) {
	for _, spool := range s.spools {
		used, err := spool.occupied(recount)
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

// The method `of` returns the spool of an owner, and opens it if necessary.
func (s *Shared) of(owner string) (*Spool, error) {
	if spool := s.spools[owner]; spool != nil {
		return spool, nil
	}
	o := s.Options
	o.Folder = filepath.Join(s.Folder, folderOf(owner))
	spool, err := open(o, s.sync)
	if err != nil {
		return nil, err
	}
	s.spools[owner] = spool
	return spool, nil
}

// Drain drains the spool of an owner, as Spool.Drain does. The spools of several owners can be drained at the same time.
func (s *Shared) Drain(ctx context.Context, owner string, take func(record []byte) error) error {
	s.mu.Lock()
	spool := s.spools[short(owner)]
	s.mu.Unlock()
	if spool == nil {
		return nil
	}
	return spool.Drain(ctx, take)
}

// Size returns the number of records that wait for Drain (see Spool.Records), and the size of all files, which Options.MaxBytes limits.
func (s *Shared) Size() (records, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, spool := range s.spools {
		n, used := spool.size()
		records, bytes = records+n, bytes+used
	}
	return records, bytes
}

// Waiting returns the owners whose records wait for Drain, sorted. If the name of an owner is longer than 200 bytes, Waiting returns a hash of
// the name.
func (s *Shared) Waiting() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owners []string
	for owner, spool := range s.spools {
		if spool.Len() > 0 {
			owners = append(owners, owner)
		}
	}
	slices.Sort(owners)
	return owners
}

// Len returns the number of bytes of an owner that wait for Drain: see Spool.Len.
func (s *Shared) Len(owner string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if spool := s.spools[short(owner)]; spool != nil {
		return spool.Len()
	}
	return 0
}

// Close closes all spools, as Spool.Close does. Close may be repeated.
func (s *Shared) Close() (err error) {
	s.mu.Lock()
	s.closed = true
	spools := slices.Collect(maps.Values(s.spools))
	s.mu.Unlock()
	for _, spool := range spools {
		err = errors.Join(err, spool.Close())
	}
	return err
}
