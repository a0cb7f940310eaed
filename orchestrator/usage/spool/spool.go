// Package spool keeps records on disk, in order, while they cannot be delivered. The disk must be local. A Spool is one queue of records. A
// Shared is a folder of several spools, which share the disk space.
//
// The folder of a spool contains segments, which are files that records are appended to. A segment is deleted when all its records are
// done. The name of a segment contains its number, and the offset of the first record that was not done when the spool was closed:
//
//	0000000000000007-0000000000000000.spool
//
// The name of a damaged segment ends in ".damaged". The spool does not read this file again, but counts its bytes toward the limit until
// somebody deletes it.
package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/tenantry/tenantry/orchestrator/groupcommit"
)

// MaxRecordBytes limits the length of a record.
const MaxRecordBytes = 1 << 20

const (
	defaultSegmentBytes = 4 << 20
	maxGroup            = 256      // limits the number of records that are committed together
	bufferBytes         = 64 << 10 // the size of the buffers for reading and writing
)

var (
	// ErrFull says that a record was not appended, because the spool or the disk is full. A later Append can succeed.
	ErrFull = errors.New("the spool is full")
	// ErrClosed is returned by the methods of a spool that is closed.
	ErrClosed = errors.New("the spool is closed")
)

// Options are the options of Open. Folder, MaxBytes and OnFault must be set. They must not be changed after Open.
type Options struct {
	// Folder is created if it is missing, but its parent must exist. Two processes cannot use the same folder.
	Folder string
	// MaxBytes limits the size of all files together.
	MaxBytes int64
	// SegmentBytes limits the size of a segment that has more than one record. Zero means 4 MiB. The disk space of a record is free
	// again when all records of its segment are done.
	SegmentBytes int64
	// OnFault is called when a damaged file was set aside, or when the rest of a failed write could not be removed. It must be safe for
	// concurrent use, and must not call the spool.
	OnFault func(error)
}

// Spool is a queue of records on disk. It is safe for concurrent use.
type Spool struct {
	Options

	dir   *os.File // the open folder, which holds the lock
	sync  func(*os.File) error
	ready chan struct{}
	group groupcommit.Group[[]byte, error]

	once     sync.Once
	closeErr error
	appends  sync.WaitGroup // the running calls of Append
	draining sync.Mutex     // locked while Drain runs

	// The mutex `writing` is locked while files are written or removed. If both mutexes are needed, `writing` is locked before mu.
	writing sync.Mutex
	active  *segment // the segment that records are appended to; nil if the next record starts a new segment
	buffer  *bufio.Writer

	mu       sync.Mutex
	closed   bool
	segments []*segment // oldest first
	last     uint64     // the number of the last segment
	used     int64      // the bytes of all files, and of the records that are being appended
	aside    int64      // the bytes of the damaged files, which are part of `used`
}

// The type `segment` is a file of records. The methods of Spool change it while both mutexes are locked, except for the fields `offset`
// and `lost`, which only need mu.
type segment struct {
	number uint64
	path   string
	file   *os.File // open for writing if this is the active segment
	end    int64    // the end of the last record that was acknowledged
	size   int64    // the size of the file
	offset int64    // the start of the first record that is not done
	count  int64    // the number of records that are not done
	lost   int64    // the number of damaged bytes that were skipped
}

// Append adds a record, and returns when the record is safe on disk. Calls that run at the same time share their writes. If Append
// returns an error, the record is not drained in this process, but can be drained after a crash. Append returns ErrFull if the files
// would exceed Options.MaxBytes, the free space of the disk, the quota of the user, or the file size limit of the process. Append does
// not keep the parameter `record`. Append has no context, because a record that is being written cannot be withdrawn.
func (s *Spool) Append(record []byte) error {
	if len(record) > MaxRecordBytes {
		return fmt.Errorf("appending to the spool in %s: a record has %d bytes, but at most %d are allowed; split it",
			s.Folder, len(record), MaxRecordBytes)
	}
	err := s.reserve(frameBytes(record), s.MaxBytes)
	if err == nil {
		err = s.appendReserved(record)
	}
	if err != nil {
		return fmt.Errorf("appending %d bytes to the spool in %s: %w", len(record), s.Folder, err)
	}
	return nil
}

// The method `appendReserved` appends a record for which `reserve` has succeeded.
func (s *Spool) appendReserved(record []byte) error {
	defer s.appends.Done()
	result, err := s.group.Do(context.Background(), record)
	if err != nil {
		return err
	}
	return result
}

// Drain calls `take` for each record, oldest first, until the spool is empty, ctx ends, or `take` returns an error. Drain returns that
// error, or context.Cause(ctx). A record is done when `take` returns nil; otherwise, it remains the first record. A record that is done
// can be drained again if the process ended without Close, or if its file is damaged. The parameter `record` is valid until `take`
// returns. Only one call of Drain can run at a time.
func (s *Spool) Drain(ctx context.Context, take func(record []byte) error) error {
	if !s.draining.TryLock() {
		return fmt.Errorf("draining the spool in %s: another call of Drain is running", s.Folder)
	}
	defer s.draining.Unlock()
	var r reader
	defer r.close()
	for ctx.Err() == nil {
		seg, record, err := s.first(&r)
		if err != nil {
			return fmt.Errorf("draining the spool in %s: %w", s.Folder, err)
		}
		if seg == nil {
			return nil
		}
		if err := take(record); err != nil {
			return err
		}
		s.advance(seg, frameBytes(record), 0)
	}
	return context.Cause(ctx)
}

// Len returns the number of bytes that wait for Drain. Each record counts 12 bytes more than its length, so that Len is zero only if no
// record waits.
func (s *Spool) Len() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(0)
	for _, seg := range s.segments {
		n += seg.end - seg.offset
	}
	return n
}

// Records returns the number of records that wait for Drain. If a file is damaged, the number may be too high until the file is drained.
func (s *Spool) Records() int64 {
	records, _ := s.size()
	return records
}

// The method `size` returns the number of records that wait for Drain, and the size of all files.
func (s *Spool) size() (records, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		records += max(seg.count, 0)
	}
	return records, s.used
}

// Ready returns a channel that receives a value after Open if records wait, and after each Append. The channel holds one value. If Drain
// fails, the caller must repeat it without waiting for Ready.
func (s *Spool) Ready() <-chan struct{} { return s.ready }

// Close waits for the running calls of Append, and unlocks the folder. Close does not wait for Drain: end it first, or the record that is
// being taken will be drained again. Calls after the first return the same error.
func (s *Spool) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.appends.Wait()
		s.writing.Lock()
		defer s.writing.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seal()
		s.closeErr = errors.Join(s.keepProgress(), s.dir.Close())
	})
	return s.closeErr
}

// The method `keepProgress` renames the oldest file, so that its name contains the offset of the first record that is not done. If a
// separate file contained the offset, the offset could be applied to the wrong segment. If the segment is damaged, `keepProgress` does
// nothing, so that the damage is found and reported again.
func (s *Spool) keepProgress() error {
	if len(s.segments) == 0 || s.segments[0].lost > 0 {
		return nil
	}
	seg := s.segments[0]
	path := s.path(seg.number, seg.offset)
	if path == seg.path {
		return nil
	}
	if err := os.Rename(seg.path, path); err != nil {
		return fmt.Errorf("closing the spool in %s: records that are done will be drained again: %w", s.Folder, err)
	}
	seg.path = path
	return nil
}

// The method `reserve` reserves disk space for a record, and registers a running Append. The parameter `limit` limits the size of all files
// together.
func (s *Spool) reserve(size, limit int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.used+size > limit && s.aside > 0 {
		if err := s.countDamaged(); err != nil {
			return err
		}
	}
	if s.used+size > limit {
		return fmt.Errorf("%w: %d of %d bytes are used; drain the spool, or raise the limit", ErrFull, s.used, limit)
	}
	s.used += size
	s.appends.Add(1)
	return nil
}

// The method `occupied` returns the number of bytes of all files, and of the records that are being appended. If `recount` is true, it first
// finds out whether damaged files were deleted.
func (s *Spool) occupied(recount bool) (used int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if recount && s.aside > 0 {
		err = s.countDamaged()
	}
	return s.used, err
}

// The method `countDamaged` finds out whether damaged files were deleted.
func (s *Spool) countDamaged() error {
	files, err := list(s.Folder)
	if err != nil {
		return err
	}
	s.used -= s.aside
	s.aside = 0
	for _, f := range files {
		if f.damaged {
			s.aside += f.size
		}
	}
	s.used += s.aside
	return nil
}

// The method `commit` writes the records of a group, and returns an error or nil for each.
func (s *Spool) commit(_ context.Context, records [][]byte) []error {
	s.writing.Lock()
	defer s.writing.Unlock()
	results := make([]error, 0, len(records))
	for len(results) < len(records) {
		n, err := s.write(records[len(results):])
		for range n {
			results = append(results, err)
		}
	}
	return results
}

// The method `write` writes at least one record, and the further records that fit in the same segment. It returns the number of
// records that it has tried to write. Either all records are safe on disk, or no record is acknowledged.
func (s *Spool) write(records [][]byte) (int, error) {
	size := frameBytes(records[0])
	if s.active != nil && s.active.end+size > s.SegmentBytes {
		s.seal()
	}
	if err := s.ensureActive(); err != nil {
		s.settle(nil, size)
		return 1, failure(err)
	}
	seg, n := s.active, 1
	for n < len(records) && seg.end+size+frameBytes(records[n]) <= s.SegmentBytes {
		size += frameBytes(records[n])
		n++
	}
	if err := s.writeTo(seg, records[:n]); err != nil {
		s.undo(seg, size)
		return n, failure(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.end == 0 {
		s.segments = append(s.segments, seg)
	}
	seg.end += size
	seg.size = seg.end
	seg.count += int64(n)
	s.announce()
	return n, nil
}

func (s *Spool) writeTo(seg *segment, records [][]byte) error {
	offset := seg.end
	s.buffer.Reset(io.NewOffsetWriter(seg.file, offset))
	for _, record := range records {
		if _, err := s.buffer.Write(header(offset, record)); err != nil {
			return err
		}
		if _, err := s.buffer.Write(record); err != nil {
			return err
		}
		offset += frameBytes(record)
	}
	if err := s.buffer.Flush(); err != nil {
		return err
	}
	if err := s.sync(seg.file); err != nil {
		return err
	}
	if seg.end == 0 { // the file is new, and its name must be safe too
		return s.sync(s.dir)
	}
	return nil
}

func (s *Spool) ensureActive() error {
	if s.active != nil {
		return nil
	}
	s.mu.Lock()
	s.last++
	number := s.last
	s.mu.Unlock()
	path := s.path(number, 0)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	s.active = &segment{number: number, path: path, file: file}
	return nil
}

// The method `undo` removes the bytes that a failed write has left in the active segment, and seals the segment. Nothing is appended to this
// file again: after a failed fsync, the kernel may have dropped the written pages, and the next fsync would succeed without writing them.
func (s *Spool) undo(seg *segment, size int64) {
	var err error
	if seg.end == 0 {
		err = os.Remove(seg.path)
	} else if err = seg.file.Truncate(seg.end); err == nil {
		err = s.sync(seg.file)
	}
	s.seal()
	if err == nil {
		s.settle(nil, size)
		return
	}
	// Drain does not read beyond seg.end. After a restart, Drain may find the rest of the failed write, and report a damaged file.
	s.settle(seg, size)
	s.OnFault(fmt.Errorf("removing an incomplete record from %s: %w", seg.path, err))
}

// The method `settle` gives back the space of records that were not appended. If a segment is given, its file occupies this space until it
// is deleted.
func (s *Spool) settle(occupant *segment, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if occupant != nil {
		occupant.size += size
	} else {
		s.used -= size
	}
}

// The method `seal` ends the active segment, so that the next record starts a new one.
func (s *Spool) seal() {
	if s.active != nil {
		s.active.file.Close() //nolint:gosec // the acknowledged records are on disk
		s.active = nil
	}
}

func (s *Spool) announce() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// The method `first` returns the first record that is not done, and its segment, or nil if the spool is empty.
func (s *Spool) first(r *reader) (*segment, []byte, error) {
	for {
		seg, offset, end, err := s.oldest(r)
		if seg == nil || err != nil {
			return nil, nil, err
		}
		if offset == end {
			if err := s.finish(seg); err != nil {
				return nil, nil, err
			}
			continue
		}
		record, err := r.read(offset, end)
		if err == nil {
			return seg, record, nil
		}
		next := offset
		if damage(err) {
			next, err = r.find(offset+1, end)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w; if this error persists, stop the process, move the file to another folder, and start the process",
				err)
		}
		s.advance(seg, next-offset, next-offset)
	}
}

// The method `oldest` returns the oldest segment. If the segment has records that are not done, `oldest` opens its file.
func (s *Spool) oldest(r *reader) (seg *segment, offset, end int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, 0, 0, ErrClosed
	case len(s.segments) == 0:
		return nil, 0, 0, nil
	}
	seg = s.segments[0]
	if seg.offset < seg.end {
		err = r.open(seg.path)
	}
	return seg, seg.offset, seg.end, err
}

func (s *Spool) advance(seg *segment, size, lost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.offset += size
	seg.lost += lost
	if lost == 0 {
		seg.count--
	}
}

// The method `finish` removes the oldest segment, unless records were appended to it meanwhile, and reports damage.
func (s *Spool) finish(seg *segment) error {
	aside, err := s.remove(seg)
	if aside != "" {
		s.OnFault(fmt.Errorf("the spool file %s was damaged: %d of its %d bytes could not be read, and records may be lost; all other records "+
			"were drained; the file is now %s, and counts toward the limit of the spool until you delete it", seg.path, seg.lost, seg.size, aside))
	}
	return err
}

// The method `remove` deletes the file of the oldest segment. If the segment is damaged, `remove` renames the file instead, and returns
// its new path.
func (s *Spool) remove(seg *segment) (aside string, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return "", ErrClosed
	case seg.offset < seg.end:
		return "", nil
	case seg == s.active:
		s.seal()
	}
	if seg.lost > 0 {
		aside = strings.TrimSuffix(seg.path, extension) + damagedExtension
		if err := os.Rename(seg.path, aside); err != nil {
			return "", fmt.Errorf("setting a damaged file aside: %w", err)
		}
		s.aside += seg.size
	} else {
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("deleting a drained file: %w", err)
		}
		s.used -= seg.size
	}
	s.segments = s.segments[1:]
	return aside, nil
}

// The function `failure` returns ErrFull with the cause, if err says that there is no space.
func failure(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w; free space on the disk, or raise the quota or the file size limit", ErrFull, err)
		}
	}
	return err
}
