package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// In a file, each record follows a header. A header consists of three little-endian numbers of four bytes: the length of the record, its
// checksum, and the checksum of the header. The checksum of the header includes the offset of the header, so that a header inside another
// record is not valid by chance.
const headerBytes = 12

var (
	errTorn    = errors.New("the record is incomplete")
	errCorrupt = errors.New("the record does not match its checksum")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func damage(err error) bool { return errors.Is(err, errTorn) || errors.Is(err, errCorrupt) }

func frameBytes(record []byte) int64 { return headerBytes + int64(len(record)) }

func header(offset int64, record []byte) []byte {
	h := make([]byte, headerBytes)
	binary.LittleEndian.PutUint32(h, uint32(len(record))) //nolint:gosec // at most MaxRecordBytes
	binary.LittleEndian.PutUint32(h[4:], crc32.Checksum(record, castagnoli))
	binary.LittleEndian.PutUint32(h[8:], headerSum(h, offset))
	return h
}

func headerSum(h []byte, offset int64) uint32 {
	var b [16]byte
	copy(b[:], h[:8])
	binary.LittleEndian.PutUint64(b[8:], uint64(offset)) //nolint:gosec // never negative
	return crc32.Checksum(b[:], castagnoli)
}

// The function `parse` returns the length and the checksum of the record whose header is at the offset.
func parse(h []byte, offset int64) (length int64, sum uint32, ok bool) {
	length = int64(binary.LittleEndian.Uint32(h))
	ok = length <= MaxRecordBytes && binary.LittleEndian.Uint32(h[8:]) == headerSum(h, offset)
	return length, binary.LittleEndian.Uint32(h[4:]), ok
}

// The type `reader` reads the records of one file at a time. The zero value is ready for use.
type reader struct {
	file   *os.File
	record []byte // a buffer for records
	window []byte // a buffer for searches
}

func (r *reader) open(path string) error {
	if r.file != nil && r.file.Name() == path {
		return nil
	}
	r.close()
	var err error
	r.file, err = os.Open(path)
	return err
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close() //nolint:gosec // nothing was written
		r.file = nil
	}
}

// The method `read` returns the record at the offset. The record is valid until the next call. The error is errTorn if the record begins
// before `end` and ends after it, and errCorrupt if there is no valid record.
func (r *reader) read(offset, end int64) ([]byte, error) {
	if end-offset < headerBytes {
		return nil, errTorn
	}
	h := make([]byte, headerBytes)
	if err := r.fill(h, offset); err != nil {
		return nil, err
	}
	length, sum, ok := parse(h, offset)
	switch {
	case !ok:
		return nil, errCorrupt
	case length > end-offset-headerBytes:
		return nil, errTorn
	}
	if int64(cap(r.record)) < length {
		r.record = make([]byte, length)
	}
	record := r.record[:length]
	if err := r.fill(record, offset+headerBytes); err != nil {
		return nil, err
	}
	if crc32.Checksum(record, castagnoli) != sum {
		return nil, errCorrupt
	}
	return record, nil
}

// The method `fill` fills b. If the file is too short, the error is errCorrupt.
func (r *reader) fill(b []byte, offset int64) error {
	n, err := r.file.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return errCorrupt
	}
	return err
}

// The method `find` returns the offset of the next valid header, or `end` if there is none.
func (r *reader) find(from, end int64) (int64, error) {
	for offset := from; end-offset >= headerBytes; {
		w, err := r.look(offset, end)
		if err != nil {
			return 0, err
		}
		if len(w) < headerBytes { // the file is too short
			break
		}
		for ; len(w) >= headerBytes; w, offset = w[1:], offset+1 {
			if _, _, ok := parse(w, offset); ok {
				return offset, nil
			}
		}
	}
	return end, nil
}

// The method `look` returns the bytes from the offset to `end`, as far as they fit into the buffer.
func (r *reader) look(offset, end int64) ([]byte, error) {
	if r.window == nil {
		r.window = make([]byte, bufferBytes)
	}
	w := r.window[:min(bufferBytes, end-offset)]
	n, err := r.file.ReadAt(w, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return w[:n], nil
}

// A crash may leave an incomplete record, or zeros, at the end of a file. The method `tail` returns the offset at which these bytes begin. If
// there are no such bytes, it returns `end`. Other bytes that are no record are damage. They are not cut off, so that Drain reports them.
func (r *reader) tail(offset, end int64) (int64, error) {
	for offset < end {
		record, err := r.read(offset, end)
		switch {
		case err == nil:
			offset += frameBytes(record)
			continue
		case errors.Is(err, errTorn):
			return offset, nil
		case !errors.Is(err, errCorrupt):
			return 0, err
		}
		zeros, err := r.zeros(offset, end)
		if zeros || err != nil {
			return offset, err
		}
		if offset, err = r.find(offset+1, end); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// The method `count` returns the number of records from the offset to `end`. It checks only the headers, and stops where the file cannot be read:
// Drain reports damage.
func (r *reader) count(offset, end int64) (records int64) {
	for end-offset >= headerBytes {
		w, err := r.look(offset, end)
		if err != nil || len(w) < headerBytes {
			return records
		}
		for len(w) >= headerBytes {
			length, _, ok := parse(w, offset)
			if !ok {
				if offset, err = r.find(offset+1, end); err != nil {
					return records
				}
				break // find has used the buffer
			}
			records++
			size := headerBytes + length
			w, offset = w[min(size, int64(len(w))):], offset+size
		}
	}
	return records
}

// The method `zeros` reports whether all bytes from the offset to `end` are zero.
func (r *reader) zeros(offset, end int64) (bool, error) {
	for offset < end {
		w, err := r.look(offset, end)
		if err != nil {
			return false, err
		}
		if len(w) == 0 {
			return false, fmt.Errorf("%s became shorter", r.file.Name())
		}
		for _, b := range w {
			if b != 0 {
				return false, nil
			}
		}
		offset += int64(len(w))
	}
	return true, nil
}
