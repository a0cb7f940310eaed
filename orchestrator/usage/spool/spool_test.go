package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/orchestrator/usage/spool"
)

// The type `fixture` is a spool, and the faults that it reports.
type fixture struct {
	*spool.Spool
	t      testing.TB
	faults []error
}

type option func(*spool.Options)

func maxBytes(n int64) option     { return func(o *spool.Options) { o.MaxBytes = n } }
func segmentBytes(n int64) option { return func(o *spool.Options) { o.SegmentBytes = n } }

// The function `open` opens a spool, and expects no faults. The parameter `sync` replaces fsync; nil means fsync.
func open(t testing.TB, folder string, sync func(*os.File) error, options ...option) *fixture {
	t.Helper()
	f := damaged(t, folder, sync, options...)
	t.Cleanup(func() {
		if len(f.faults) > 0 {
			t.Errorf("faults: %v", f.faults)
		}
	})
	return f
}

// The function `damaged` opens a spool that may report faults.
func damaged(t testing.TB, folder string, sync func(*os.File) error, options ...option) *fixture {
	t.Helper()
	f := &fixture{t: t}
	o := spool.Options{Folder: folder, MaxBytes: 1 << 30, OnFault: func(err error) { f.faults = append(f.faults, err) }}
	for _, set := range options {
		set(&o)
	}
	if sync == nil {
		sync = (*os.File).Sync
	}
	var err error
	if f.Spool, err = spool.OpenWithSync(o, sync); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

func (f *fixture) close() {
	f.t.Helper()
	if err := f.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *fixture) append(records ...string) {
	f.t.Helper()
	for _, record := range records {
		if err := f.Append([]byte(record)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// The method `drain` drains the spool, and returns the records.
func (f *fixture) drain() []string {
	f.t.Helper()
	var records []string
	err := f.Drain(f.t.Context(), func(record []byte) error {
		records = append(records, string(record))
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return records
}

func (f *fixture) want(records ...string) {
	f.t.Helper()
	if got := f.drain(); !slices.Equal(got, records) {
		f.t.Errorf("drained %.200q, want %.200q", got, records)
	}
}

func noSync(*os.File) error { return nil }

// The function `memory` returns a new folder in memory if possible, so that a busy disk does not delay the tests.
func memory(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "spool") //nolint:usetesting // t.TempDir is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// The function `files` returns the names and the contents of the files in a folder.
func files(t testing.TB, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		contents[e.Name()] = string(b)
	}
	return contents
}

func size(t testing.TB, folder string) int64 {
	n := 0
	for _, content := range files(t, folder) {
		n += len(content)
	}
	return int64(n)
}

// The function `folderWith` returns a new folder with these files.
func folderWith(t testing.TB, contents map[string]string) string {
	t.Helper()
	folder := memory(t)
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func numbered(from, to int) []string {
	var records []string
	for i := from; i < to; i++ {
		records = append(records, fmt.Sprintf("record %d", i))
	}
	return records
}

func TestRecordsAreDrainedInOrder(t *testing.T) {
	records := append(numbered(0, 50), "", "\x00", strings.Repeat("x", 200), strings.Repeat("\x00", spool.MaxRecordBytes))
	records = append(records, numbered(50, 100)...)
	for name, reopened := range map[string]bool{"in the same process": false, "after reopening": true} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(memory(t), "spool")
			f := open(t, folder, noSync, segmentBytes(100))
			f.append(records...)
			if n := len(files(t, folder)); n < 10 {
				t.Errorf("%d files, want one per 100 bytes", n)
			}
			want := int64(0)
			for _, record := range records {
				want += int64(len(record)) + spool.HeaderBytes
			}
			if reopened {
				f.close()
				f = open(t, folder, noSync, segmentBytes(100))
			}
			if got, n := f.Len(), f.Records(); got != want || n != int64(len(records)) {
				t.Errorf("Len is %d, want %d, and %d records wait, want %d", got, want, n, len(records))
			}
			f.want(records...)
			if n, left := f.Len()+f.Records(), files(t, folder); n != 0 || len(left) != 0 {
				t.Errorf("after the drain, Len and Records are %d, and there are the files %v", n, slices.Collect(maps.Keys(left)))
			}
			f.append("later")
			f.want("later")
		})
	}
}

func TestReadyTellsThatRecordsWait(t *testing.T) {
	isReady := func(f *fixture) bool {
		select {
		case <-f.Ready():
			return true
		default:
			return false
		}
	}
	folder := memory(t)
	f := open(t, folder, noSync)
	if isReady(f) {
		t.Error("an empty spool is ready")
	}
	f.append("a", "b")
	if !isReady(f) || isReady(f) {
		t.Error("after two appends, Ready must have one value")
	}
	f.close()
	f = open(t, folder, noSync)
	if !isReady(f) {
		t.Error("a spool that was opened with records is not ready")
	}
	f.want("a", "b")
	f.close()
	if isReady(open(t, folder, noSync)) {
		t.Error("a spool that was drained is ready after it was opened again")
	}
}

func TestARecordThatIsNotTakenRemainsTheFirst(t *testing.T) {
	folder := memory(t)
	f := open(t, folder, noSync, segmentBytes(60))
	f.append(numbered(0, 9)...)
	away := errors.New("the database is down")
	var got []string
	for range 3 {
		for stop := range 3 { // take a few records, then fail
			taken := 0
			err := f.Drain(t.Context(), func(record []byte) error {
				if taken == stop {
					return away
				}
				taken++
				got = append(got, string(record))
				return nil
			})
			if err != away { //nolint:errorlint // Drain must return the same error
				t.Fatalf("got %v, want %v", err, away)
			}
		}
		f.close()
		f = open(t, folder, noSync, segmentBytes(60))
		if len(got) >= 6 {
			break
		}
	}
	f.append("last")
	got = append(got, f.drain()...)
	if want := append(numbered(0, 9), "last"); !slices.Equal(got, want) {
		t.Errorf("drained %q, want each of %q once", got, want)
	}
}

func TestADrainThatWasInterruptedContinues(t *testing.T) {
	f := open(t, memory(t), noSync, segmentBytes(60))
	f.append(numbered(0, 10)...)
	ctx, interrupt := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	var got []string
	err := f.Drain(ctx, func(record []byte) error {
		if got = append(got, string(record)); len(got) == 3 {
			interrupt(cause)
		}
		return nil
	})
	if err != cause { //nolint:errorlint // Drain must return the cause
		t.Errorf("got %v, want %v", err, cause)
	}
	if !slices.Equal(got, numbered(0, 3)) {
		t.Errorf("the interrupted drain took %q", got)
	}
	f.want(numbered(3, 10)...)

	f.append("last")
	ctx, interrupt = context.WithCancelCause(t.Context())
	err = f.Drain(ctx, func([]byte) error {
		interrupt(cause)
		return nil
	})
	if err != cause { //nolint:errorlint // Drain must return the cause
		t.Errorf("got %v, want %v", err, cause)
	}
	f.close()
	f = open(t, f.Folder, noSync)
	if left := files(t, f.Folder); len(left) != 0 || f.Len() != 0 {
		t.Errorf("all records are done, but Len is %d, and there are the files %v", f.Len(), left)
	}
}

func TestOnlyOneDrainRuns(t *testing.T) {
	f := open(t, memory(t), noSync)
	f.append("a")
	err := f.Drain(t.Context(), func([]byte) error {
		err := f.Drain(t.Context(), func([]byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "another call") {
			t.Errorf("the second Drain returned %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDrainNeedsLittleMemory(t *testing.T) {
	f := open(t, memory(t), noSync)
	record := bytes.Repeat([]byte("x"), 1000)
	for range 16 << 10 {
		if err := f.Append(record); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	if err := f.Drain(t.Context(), func([]byte) error { n++; return nil }); err != nil || n != 16<<10 {
		t.Errorf("drained %d records: %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
		t.Errorf("draining 16 MiB allocated %d bytes", used)
	}
}

func TestAppendsAndADrainRunTogether(t *testing.T) {
	const writers, each = 16, 50
	f := open(t, memory(t), func(*os.File) error {
		time.Sleep(200 * time.Microsecond) // as a disk
		return nil
	}, segmentBytes(2000))
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if err := f.Append(fmt.Appendf(nil, "%d %d %s", w, i, strings.Repeat("x", i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	next := map[int]int{} // by writer
	take := func(record []byte) error {
		var w, i int
		if _, err := fmt.Sscan(string(record), &w, &i); err != nil {
			return err
		}
		if i != next[w] {
			t.Errorf("writer %d: got record %d, want %d", w, i, next[w])
		}
		next[w] = i + 1
		return nil
	}
	for running := true; running; {
		select {
		case <-f.Ready():
		case <-ended:
			running = false
		}
		if err := f.Drain(t.Context(), take); err != nil {
			t.Fatal(err)
		}
	}
	for w := range writers {
		if next[w] != each {
			t.Errorf("writer %d: drained %d records, want %d", w, next[w], each)
		}
	}
	if left := size(t, f.Folder); left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

func TestAppendsShareTheirWrites(t *testing.T) {
	const frame = 1 + spool.HeaderBytes
	for name, c := range map[string]struct {
		segment int64
		syncs   int // the parent folder, the new file, and the folder; and then of the group
		sizes   []int
	}{
		"in one segment": {1000 * frame, 3 + 1, []int{64 * frame}},
		// The file, a new file, and the folder; and the last two again.
		"in three segments": {26*frame + 5, 3 + 5, []int{26 * frame, 26 * frame, 12 * frame}},
	} {
		folder := memory(t)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				syncs, release := 0, make(chan struct{})
				f := open(t, folder, func(*os.File) error {
					if syncs++; syncs == 2 { // the second is of the first append
						<-release
					}
					return nil
				}, segmentBytes(c.segment))
				var all sync.WaitGroup
				for range 64 {
					all.Go(func() { f.append("x") })
					synctest.Wait()
				}
				close(release)
				all.Wait()
				if syncs != c.syncs {
					t.Errorf("64 appends caused %d syncs, want %d", syncs, c.syncs)
				}
				var sizes []int
				contents := files(t, folder)
				for _, name := range slices.Sorted(maps.Keys(contents)) {
					sizes = append(sizes, len(contents[name]))
				}
				if !slices.Equal(sizes, c.sizes) {
					t.Errorf("the files have %v bytes, want %v", sizes, c.sizes)
				}
				f.want(slices.Repeat([]string{"x"}, 64)...)
				f.close()
			})
		})
	}
}

func TestCloseWaitsForAppends(t *testing.T) {
	folder := memory(t)
	synctest.Test(t, func(t *testing.T) {
		opened, release := false, make(chan struct{})
		f := open(t, folder, func(*os.File) error {
			if opened {
				<-release
			}
			return nil
		})
		opened = true
		var all sync.WaitGroup
		var appended atomic.Int32
		for range 3 {
			all.Go(func() {
				f.append("x")
				appended.Add(1)
			})
		}
		synctest.Wait()
		all.Go(func() {
			f.close()
			if n := appended.Load(); n != 3 {
				t.Errorf("Close returned after %d of 3 appends", n)
			}
		})
		synctest.Wait()
		if err := f.Append([]byte("late")); !errors.Is(err, spool.ErrClosed) {
			t.Errorf("an append after Close returned %v", err)
		}
		close(release)
		all.Wait()
		f.close()
		err := f.Drain(t.Context(), func(record []byte) error {
			t.Errorf("a drain after Close took %q", record)
			return nil
		})
		if !errors.Is(err, spool.ErrClosed) {
			t.Errorf("a drain after Close returned %v", err)
		}
		f = open(t, folder, noSync)
		f.want("x", "x", "x")
		f.close()
	})
}

func TestCloseDuringADrain(t *testing.T) {
	folder := memory(t)
	f := open(t, folder, noSync)
	f.append("a", "b", "c")
	var other *fixture
	err := f.Drain(t.Context(), func(record []byte) error {
		if string(record) == "b" {
			f.close()
			other = open(t, folder, noSync) // as another process could
		}
		return nil
	})
	if !errors.Is(err, spool.ErrClosed) {
		t.Errorf("got %v, want %v", err, spool.ErrClosed)
	}
	other.want("b", "c")
}

func TestAFullSpoolRefusesRecords(t *testing.T) {
	const frame = 10 + spool.HeaderBytes
	record := []byte("0123456789")
	f := open(t, memory(t), noSync, maxBytes(10*frame), segmentBytes(2*frame))
	var all sync.WaitGroup
	var appended atomic.Int32
	for range 40 {
		all.Go(func() {
			err := f.Append(record)
			switch {
			case err == nil:
				appended.Add(1)
			case !errors.Is(err, spool.ErrFull) || !strings.Contains(err.Error(), f.Folder):
				t.Errorf("got %v, want ErrFull and the folder", err)
			}
		})
	}
	all.Wait()
	if n := appended.Load(); n != 10 {
		t.Errorf("%d records were appended, want 10", n)
	}
	full := files(t, f.Folder)
	for _, r := range []string{"", "x", strings.Repeat("x", 2000)} {
		if err := f.Append([]byte(r)); !errors.Is(err, spool.ErrFull) {
			t.Errorf("%d bytes: got %v, want ErrFull", len(r), err)
		}
	}
	if now := files(t, f.Folder); !maps.Equal(now, full) {
		t.Error("a record that was refused changed the files")
	}
	stop := errors.New("stop")
	n := 0
	if err := f.Drain(t.Context(), func([]byte) error {
		if n++; n == 4 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Error(err)
	}
	f.append(string(record), string(record)) // the first segment was deleted
	if err := f.Append(record); !errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if n := size(t, f.Folder); n != 10*frame {
		t.Errorf("the files have %d bytes, want %d", n, 10*frame)
	}
	f.close()
	f = open(t, f.Folder, noSync, maxBytes(10*frame), segmentBytes(2*frame))
	if err := f.Append(record); !errors.Is(err, spool.ErrFull) {
		t.Errorf("after reopening: got %v, want ErrFull", err)
	}
	f.want(slices.Repeat([]string{string(record)}, 9)...)
	f.append(slices.Repeat([]string{string(record)}, 10)...)
}

func TestARecordCanBeTooLong(t *testing.T) {
	f := open(t, memory(t), noSync)
	err := f.Append(make([]byte, spool.MaxRecordBytes+1))
	if err == nil || errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want another error", err)
	}
	f.want()
}

// The type `disk` knows what a power cut would leave: the contents and the names that were synced.
type disk struct {
	mu       sync.Mutex
	contents map[uint64]string            // by inode
	names    map[string]map[string]uint64 // the inodes in each folder
	failing  bool                         // whether the next sync of a file fails after it has written the content
}

func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func (d *disk) sync(f *os.File) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		b, err := os.ReadFile(f.Name())
		d.contents[inode(info)] = string(b)
		if d.failing {
			d.failing, err = false, syscall.EIO
		}
		return err
	}
	entries, err := os.ReadDir(f.Name())
	names := map[string]uint64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		names[e.Name()] = inode(info)
	}
	d.names[f.Name()] = names
	return err
}

func (d *disk) afterPowerCut(t *testing.T, folder string) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[filepath.Dir(folder)][filepath.Base(folder)]; !ok {
		t.Fatal("the name of the folder was not synced")
	}
	left := map[string]string{}
	for name, i := range d.names[folder] {
		left[name] = d.contents[i]
	}
	return left
}

func TestAnAcknowledgedRecordSurvivesAPowerCut(t *testing.T) {
	d := &disk{contents: map[uint64]string{}, names: map[string]map[string]uint64{}}
	folder := filepath.Join(memory(t), "spool")
	f := open(t, folder, d.sync, segmentBytes(60))
	for i := range 12 {
		f.append(fmt.Sprintf("record %d", i))
		open(t, folderWith(t, d.afterPowerCut(t, folder)), noSync).want(numbered(0, i+1)...)
	}
	f.close()
	f = open(t, folder, d.sync, segmentBytes(60)) // after a restart, too
	f.append("record 12")
	open(t, folderWith(t, d.afterPowerCut(t, folder)), noSync).want(numbered(0, 13)...)

	// A record that was refused does not come back when a newer file follows.
	d.failing = true
	if err := f.Append([]byte("refused")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want %v", err, syscall.EIO)
	}
	f.append("record 13")
	open(t, folderWith(t, d.afterPowerCut(t, folder)), noSync).want(numbered(0, 14)...)
	f.close()

	// The incomplete record that Open cuts off does not come back when a newer file follows.
	for name, content := range files(t, folder) {
		if strings.Contains(content, "record 13") {
			path := filepath.Join(folder, name)
			if err := errors.Join(os.WriteFile(path, []byte(content+"torn"), 0o600), syncPath(d, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f = open(t, folder, d.sync, segmentBytes(60))
	f.append("record 14")
	open(t, folderWith(t, d.afterPowerCut(t, folder)), noSync).want(numbered(0, 15)...)
}

func syncPath(d *disk, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.sync(f)
}

func TestACrashInTheMiddleOfARecord(t *testing.T) {
	source := memory(t)
	f := open(t, source, noSync, segmentBytes(100))
	records := []string{strings.Repeat("first", 15), "second", "third"} // the first has a file of its own
	f.append(records...)
	contents := files(t, source)
	names := slices.Sorted(maps.Keys(contents))
	if len(names) != 2 {
		t.Fatalf("the files are %v, want two", names)
	}
	last := names[1]
	whole := contents[last]
	second := spool.HeaderBytes + len("second")
	zeros := strings.Repeat("\x00", 5000)
	cases := map[string][]string{whole: records, whole + zeros: records, whole[:second] + zeros: records[:2], zeros: records[:1]}
	for n := range len(whole) {
		whole := records[:1]
		if n >= second {
			whole = records[:2]
		}
		cases[contents[last][:n]] = whole
	}
	for content, want := range cases {
		contents[last] = content
		folder := folderWith(t, contents)
		kept := int64(0)
		for _, record := range want {
			kept += int64(len(record)) + spool.HeaderBytes
		}
		f := open(t, folder, noSync, segmentBytes(100), maxBytes(kept+5+spool.HeaderBytes))
		if n := len(files(t, folder)); n != min(len(want), 2) {
			t.Errorf("cut after %d bytes: there are %d files", len(content), n)
		}
		if n := size(t, folder); n != kept || f.Len() != kept {
			t.Errorf("cut after %d bytes: the files have %d bytes, and Len is %d, want %d", len(content), n, f.Len(), kept)
		}
		f.append("later") // the limit is reached exactly
		f.close()
		f = open(t, folder, noSync, segmentBytes(100))
		f.want(append(slices.Clone(want), "later")...)
		f.close()
	}
}

func TestDamagedBytes(t *testing.T) {
	source := memory(t)
	f := open(t, source, noSync, segmentBytes(100))
	records := []string{"record 0", "record 1", "record 2", "record 3", "record 4", "record 5"}
	const frame = 8 + spool.HeaderBytes
	f.append(records...)
	contents := files(t, source)
	names := slices.Sorted(maps.Keys(contents))
	if len(names) != 2 || len(contents[names[0]]) != 5*frame {
		t.Fatalf("the files are %v, want five records and one record", names)
	}
	check := func(i, at int, change func(b []byte), lost ...int) {
		t.Helper()
		b := []byte(contents[names[i]])
		change(b)
		changed := maps.Clone(contents)
		changed[names[i]] = string(b)
		folder := folderWith(t, changed)
		f := damaged(t, folder, noSync)
		defer f.close()
		var want []string
		for j, record := range records {
			if !slices.Contains(lost, j) {
				want = append(want, record)
			}
		}
		if n := f.Records(); n < int64(len(want)) || n > int64(len(records)) {
			t.Errorf("byte %d of file %d: %d records wait, want %d", at, i, n, len(want))
		}
		f.want(want...)
		if n := f.Records(); n != 0 {
			t.Errorf("byte %d of file %d: %d records wait after the drain", at, i, n)
		}
		if len(f.faults) != 1 || !strings.Contains(f.faults[0].Error(), filepath.Join(folder, names[i])) {
			t.Errorf("byte %d of file %d: the faults are %v, want one with the path", at, i, f.faults)
		}
		left := files(t, folder)
		if len(left) != 1 || left[strings.TrimSuffix(names[i], ".spool")+".damaged"] != string(b) {
			t.Errorf("byte %d of file %d: the damaged file was not set aside: %v", at, i, left)
		}
		f.append("later")
		f.want("later")
	}
	for i, name := range names {
		for at := range len(contents[name]) {
			check(i, at, func(b []byte) { b[at] ^= 1 << (at % 8) }, 5*i+at/frame)
		}
	}
	for bit := range 32 { // the length is a different one each time, up to 2 GiB
		check(0, bit/8, func(b []byte) { b[bit/8] ^= 1 << (bit % 8) }, 0)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 { // several bytes in several records
		from, to := random.IntN(5*frame), random.IntN(5*frame)
		from, to = min(from, to), max(from, to)
		var lost []int
		for i := from / frame; i <= to/frame; i++ {
			lost = append(lost, i)
		}
		check(0, from, func(b []byte) {
			for at := from; at <= to; at++ {
				b[at] ^= byte(1 + random.IntN(255))
			}
		}, lost...)
	}
}

func TestAnOlderFileBecameShorter(t *testing.T) {
	source := open(t, memory(t), noSync, segmentBytes(100))
	source.append(numbered(0, 6)...)
	contents := files(t, source.Folder)
	first := slices.Min(slices.Collect(maps.Keys(contents)))
	const frame = 8 + spool.HeaderBytes
	whole := contents[first]
	for n := 4*frame + 1; n < len(whole); n++ {
		contents[first] = whole[:n]
		f := damaged(t, folderWith(t, contents), noSync)
		f.want(append(numbered(0, 4), "record 5")...)
		if len(f.faults) != 1 {
			t.Errorf("cut after %d bytes: the faults are %v, want one", n, f.faults)
		}
		f.close()
	}
	f := damaged(t, folderWith(t, map[string]string{first: whole}), noSync)
	if err := os.Truncate(filepath.Join(f.Folder, first), 2*frame+5); err != nil { // while the spool is open
		t.Fatal(err)
	}
	f.want(numbered(0, 2)...)
	if len(f.faults) != 1 {
		t.Errorf("the faults are %v, want one", f.faults)
	}
}

func TestAFileInsideARecordIsNotDrained(t *testing.T) {
	inner := open(t, memory(t), noSync)
	inner.append("forged 0", "forged 1")
	outer := open(t, memory(t), noSync)
	for _, content := range files(t, inner.Folder) {
		outer.append(content)
	}
	outer.append("genuine")
	contents := files(t, outer.Folder)
	for name, content := range contents {
		contents[name] = "\xff" + content[1:]
	}
	f := damaged(t, folderWith(t, contents), noSync)
	f.want("genuine")
	if len(f.faults) != 1 {
		t.Errorf("the faults are %v, want one", f.faults)
	}
}

func TestALongDamagedRecordIsSkipped(t *testing.T) {
	f := open(t, memory(t), noSync)
	f.append("first", strings.Repeat("x", spool.MaxRecordBytes), strings.Repeat("y", 70<<10), "last")
	contents := files(t, f.Folder)
	for name, content := range contents {
		contents[name] = content[:40] + "?" + content[41:]
	}
	f = damaged(t, folderWith(t, contents), noSync)
	f.want("first", strings.Repeat("y", 70<<10), "last")
}

func TestOtherContentsOfAFile(t *testing.T) {
	for name, content := range map[string]string{
		"garbage": strings.Repeat("garbage", 30000), "ones": strings.Repeat("\xff", 100),
	} {
		t.Run(name, func(t *testing.T) {
			folder := folderWith(t, map[string]string{
				"0000000000000003-0000000000000000.spool": content, "0000000000000004-0000000000000000.spool": content,
				"notes": "not a file of the spool",
			})
			f := damaged(t, folder, noSync)
			f.append("a")
			f.want("a")
			if len(f.faults) != 2 {
				t.Errorf("the faults are %v, want two", f.faults)
			}
			if left := files(t, folder); len(left) != 3 || left["0000000000000004-0000000000000000.damaged"] != content {
				t.Errorf("the files are %v", slices.Sorted(maps.Keys(left)))
			}
			f.close()
			f = damaged(t, folder, noSync)
			f.append("b")
			if _, ok := files(t, folder)["0000000000000005-0000000000000000.spool"]; !ok {
				t.Error("the number of a damaged file must not be used again")
			}
			f.want("b")
			if len(f.faults) > 0 {
				t.Errorf("a file that is aside was reported again: %v", f.faults)
			}
		})
	}
}

func TestAFileNameHasAWrongOffset(t *testing.T) {
	source := open(t, memory(t), noSync)
	source.append("a", "b")
	for _, content := range files(t, source.Folder) {
		open(t, folderWith(t, map[string]string{"0000000000000001-0000000000000999.spool": content}), noSync).want("a", "b")
	}
}

func TestADamagedFileIsFoundAgainAfterReopening(t *testing.T) {
	source := open(t, memory(t), noSync)
	source.append("a", "b", "c", "d")
	contents := files(t, source.Folder)
	for name, content := range contents {
		contents[name] = content[:spool.HeaderBytes] + "?" + content[spool.HeaderBytes+1:]
	}
	folder := folderWith(t, contents)
	f := damaged(t, folder, noSync)
	stop := errors.New("stop")
	if err := f.Drain(t.Context(), func(record []byte) error {
		if string(record) == "c" {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	f.close()
	f = damaged(t, folder, noSync)
	if got := f.drain(); !slices.Equal(got, []string{"b", "c", "d"}) || len(f.faults) != 1 {
		t.Errorf("drained %q with the faults %v, want b, c, d and one fault", got, f.faults)
	}
}

func TestDamagedFilesCountUntilTheyAreDeleted(t *testing.T) {
	for name, reopened := range map[string]bool{"in the same process": false, "after reopening": true} {
		t.Run(name, func(t *testing.T) { damagedFilesCount(t, reopened) })
	}
}

func damagedFilesCount(t *testing.T, reopened bool) {
	const limit = 3 * (10 + spool.HeaderBytes)
	folder := folderWith(t, map[string]string{"0000000000000001-0000000000000000.spool": strings.Repeat("?", 40)})
	f := damaged(t, folder, noSync, maxBytes(limit))
	f.want()
	f.append("0123456789")
	if err := f.Append([]byte("0123456789")); !errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if reopened {
		f.close()
		f = damaged(t, folder, noSync, maxBytes(limit))
	}
	if err := f.Append([]byte("0123456789")); !errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if err := os.Remove(filepath.Join(folder, "0000000000000001-0000000000000000.damaged")); err != nil {
		t.Fatal(err)
	}
	f.append("0123456789", "0123456789")
	if err := f.Append(nil); !errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}

func TestAFailedSync(t *testing.T) {
	for name, cause := range map[string]error{"disk error": syscall.EIO, "disk full": syscall.ENOSPC, "quota": syscall.EDQUOT} {
		for _, of := range []string{"file", "new file", "folder"} {
			t.Run(name+" of the "+of, func(t *testing.T) {
				var failing bool
				bad := map[string]bool{} // the files whose sync has failed must not be written again
				written := ""
				sync := func(f *os.File) error {
					info, err := f.Stat()
					if err != nil {
						return err
					}
					if info.IsDir() != (of == "folder") || !failing {
						if !info.IsDir() {
							written = f.Name()
						}
						return nil
					}
					failing = false
					if !info.IsDir() {
						bad[f.Name()] = true
					}
					return &fs.PathError{Op: "sync", Path: f.Name(), Err: cause}
				}
				folder := memory(t)
				f := open(t, folder, sync)
				var want []string
				if of == "file" {
					f.append("before")
					want = append(want, "before")
				}
				before := files(t, folder)
				failing = true
				err := f.Append([]byte("failed"))
				if !errors.Is(err, cause) || !strings.Contains(err.Error(), folder) || errors.Is(err, spool.ErrFull) == errors.Is(cause, syscall.EIO) {
					t.Errorf("got %v", err)
				}
				if after := files(t, folder); !maps.Equal(after, before) {
					t.Errorf("the files were %q, and are %q after the failure", before, after)
				}
				f.append("after")
				if bad[written] {
					t.Error("the record was appended to a file whose sync has failed")
				}
				f.close()
				open(t, folder, noSync, maxBytes(1000)).want(append(want, "after")...)
			})
		}
	}
}

func TestAFailedWriteThatCannotBeUndone(t *testing.T) {
	failing := false
	folder := memory(t)
	const limit = 5 * (6 + spool.HeaderBytes)
	f := damaged(t, folder, func(f *os.File) error {
		if failing {
			failing = false
			f.Close() // so that the file cannot be truncated
			return syscall.EIO
		}
		return nil
	}, maxBytes(limit))
	f.append("before")
	failing = true
	if err := f.Append([]byte("failed")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want %v", err, syscall.EIO)
	}
	if len(f.faults) != 1 {
		t.Errorf("the faults are %v, want one", f.faults)
	}
	f.append("after0", "after1", "after2")
	if err := f.Append(nil); !errors.Is(err, spool.ErrFull) || size(t, folder) != limit {
		t.Errorf("the files have %d of %d bytes, and an append returned %v, want ErrFull", size(t, folder), limit, err)
	}
	f.want("before", "after0", "after1", "after2")
	f.append("after0", "after1", "after2", "after3", "after4")
}

func TestTheFolder(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	try := func(folder string) error {
		s, err := spool.Open(spool.Options{Folder: folder, MaxBytes: 1000, OnFault: func(err error) { t.Error(err) }})
		if err == nil {
			err = s.Append([]byte("a"))
			s.Close()
		}
		return err
	}
	parent := memory(t)
	mode := func(path string) fs.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	made := filepath.Join(parent, "made")
	if err := try(made); err != nil {
		t.Fatal(err)
	}
	if m := mode(made); m != 0o700 {
		t.Errorf("the mode of the folder is %#o", m)
	}
	for name := range files(t, made) {
		if m := mode(filepath.Join(made, name)); m != 0o600 {
			t.Errorf("the mode of %s is %#o", name, m)
		}
	}
	for m, ok := range map[fs.FileMode]bool{0o777: false, 0o702: false, 0o720: false, 0o755: true, 0o700: true} {
		folder := filepath.Join(parent, fmt.Sprintf("mode%o", m))
		if err := os.Mkdir(folder, m); err != nil {
			t.Fatal(err)
		}
		err := try(folder)
		if (err == nil) != ok {
			t.Errorf("mode %#o: got %v", m, err)
		}
		if err != nil && (!strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "chmod")) {
			t.Errorf("mode %#o: the error must name the folder and say what to do: %v", m, err)
		}
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(parent, "missing", "spool")} {
		if err := try(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestAFolderIsOpenedOnce(t *testing.T) {
	f := open(t, memory(t), noSync)
	o := f.Options
	_, err := spool.Open(o)
	if err == nil || !strings.Contains(err.Error(), f.Folder) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v, want an error that names the folder", err)
	}
	f.append("a") // the first spool is not disturbed
	f.want("a")
	f.close()
	open(t, f.Folder, noSync).want()
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := spool.Open(spool.Options{SegmentBytes: -1})
	for _, part := range []string{"folder", "limits", "faults"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error %v does not mention %q", err, part)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	record := bytes.Repeat([]byte("x"), 4096)
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			f := open(b, b.TempDir(), nil)
			var n atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range writers {
				all.Go(func() {
					for n.Add(1) <= int64(b.N) {
						if err := f.Append(record); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}
