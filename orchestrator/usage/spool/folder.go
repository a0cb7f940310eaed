package spool

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

const (
	extension        = ".spool"
	damagedExtension = ".damaged"
)

var fileName = regexp.MustCompile(`^(\d{16})-(\d{16})(\.spool|\.damaged)$`)

// Open opens a spool, and creates the folder if it is missing. Open fails if the spool is open elsewhere, or if other users may write
// to the folder. If the last file ends in an incomplete record, which was never acknowledged, Open cuts this record off.
func Open(o Options) (*Spool, error) { return open(o, (*os.File).Sync) }

func open(o Options, sync func(*os.File) error) (_ *Spool, err error) {
	o.SegmentBytes = cmp.Or(o.SegmentBytes, defaultSegmentBytes)
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Folder, err = filepath.Abs(o.Folder); err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	s := &Spool{Options: o, sync: sync, ready: make(chan struct{}, 1), buffer: bufio.NewWriterSize(nil, bufferBytes)}
	s.group.Commit, s.group.Max = s.commit, maxGroup
	defer func() {
		if err != nil {
			if s.dir != nil {
				err = errors.Join(err, s.dir.Close())
			}
			err = fmt.Errorf("opening the spool in %s: %w", o.Folder, err)
		}
	}()
	if err := s.openFolder(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.Len() > 0 {
		s.announce()
	}
	return s, nil
}

func (o Options) check() error {
	var faults []error
	if o.Folder == "" {
		faults = append(faults, errors.New("the spool has no folder"))
	}
	if o.MaxBytes <= 0 || o.SegmentBytes <= 0 {
		faults = append(faults, fmt.Errorf("the limits of the spool must be positive, but they are %d bytes, and %d bytes for a segment",
			o.MaxBytes, o.SegmentBytes))
	}
	if o.OnFault == nil {
		faults = append(faults, errors.New("the spool has no function for faults"))
	}
	return errors.Join(faults...)
}

// The method `openFolder` creates, opens and locks the folder. The lock is on the folder itself. Somebody could delete a lock file, and a
// lock file could not be created on a full disk.
func (s *Spool) openFolder() error {
	created := true
	if err := os.Mkdir(s.Folder, 0o700); errors.Is(err, fs.ErrExist) {
		created = false
	} else if err != nil {
		return fmt.Errorf("%w; the folder that contains it must exist and be writable", err)
	}
	var err error
	if s.dir, err = os.Open(s.Folder); err != nil {
		return err
	}
	info, err := s.dir.Stat()
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return errors.New("this is not a folder; remove it, or use another path")
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("other users may write to the folder (its mode is %#o); run chmod go-w on it, or use a new folder inside it",
			info.Mode().Perm())
	}
	err = syscall.Flock(int(s.dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return errors.New("another process has opened this folder; end that process, or use a folder for each process")
	case err != nil:
		return fmt.Errorf("locking the folder: %w; use a local disk", err)
	}
	return s.syncParent(created)
}

// The method `syncParent` makes the name of the folder safe on disk. The call is also necessary if the folder exists, because the process
// that created the folder may have been killed before this call.
func (s *Spool) syncParent(created bool) error {
	parent, err := os.Open(filepath.Dir(s.Folder))
	if errors.Is(err, fs.ErrPermission) && !created { // somebody else has created the folder
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	return s.sync(parent)
}

func (s *Spool) load() error {
	files, err := list(s.Folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		s.last = max(s.last, f.number)
		s.used += f.size
		if f.damaged {
			s.aside += f.size
			continue
		}
		seg := &segment{number: f.number, path: f.path, end: f.size, size: f.size, offset: f.offset}
		if seg.offset > seg.end {
			seg.offset = 0 // the name is wrong; records that are drained again do no harm
		}
		s.segments = append(s.segments, seg)
	}
	if n := len(s.segments); n > 0 {
		if err := s.cutTail(s.segments[n-1]); err != nil {
			return err
		}
	}
	if err := s.removeDone(); err != nil {
		return err
	}
	var r reader
	defer r.close()
	for _, seg := range s.segments {
		if err := r.open(seg.path); err != nil {
			return err
		}
		seg.count = r.count(seg.offset, seg.end)
	}
	return nil
}

// The method `cutTail` cuts an incomplete record off. All other segments were complete before the last one was created.
func (s *Spool) cutTail(seg *segment) error {
	var r reader
	if err := r.open(seg.path); err != nil {
		return err
	}
	defer r.close()
	end, err := r.tail(seg.offset, seg.end)
	if err != nil {
		return fmt.Errorf("reading the last file: %w", err)
	}
	if end == seg.end {
		return nil
	}
	file, err := os.OpenFile(seg.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(end); err != nil {
		return fmt.Errorf("cutting off an incomplete record: %w", err)
	}
	if err := s.sync(file); err != nil {
		return fmt.Errorf("cutting off an incomplete record: %w", err)
	}
	s.used -= seg.size - end
	seg.end, seg.size = end, end
	return nil
}

// The method `removeDone` deletes the files that have no records, or only records that are done.
func (s *Spool) removeDone() error {
	var waiting []*segment
	for _, seg := range s.segments {
		if seg.offset < seg.end {
			waiting = append(waiting, seg)
			continue
		}
		if err := os.Remove(seg.path); err != nil {
			return err
		}
		s.used -= seg.size
	}
	s.segments = waiting
	return nil
}

// The type `file` is a file of a spool.
type file struct {
	path    string
	number  uint64
	offset  int64
	size    int64
	damaged bool
}

// The function `list` returns the files of a spool in the order of their numbers. Other files are ignored.
func list(folder string) ([]file, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		parts := fileName.FindStringSubmatch(e.Name())
		if parts == nil || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseUint(parts[1], 10, 64)
		if err != nil {
			return nil, err
		}
		offset, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			return nil, err
		}
		files = append(files, file{
			path: filepath.Join(folder, e.Name()), number: number, offset: offset, size: info.Size(), damaged: parts[3] == damagedExtension,
		})
	}
	return files, nil
}

func (s *Spool) path(number uint64, offset int64) string {
	return filepath.Join(s.Folder, fmt.Sprintf("%016d-%016d%s", number, offset, extension))
}
