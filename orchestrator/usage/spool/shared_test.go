package spool_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/usage/spool"
)

const (
	frame  = 10 + spool.HeaderBytes
	record = "0123456789"
)

// The function `shared` opens a folder of spools that have space for `frames` records.
func shared(t *testing.T, folder string, frames int64) *spool.Shared {
	t.Helper()
	s, err := spool.OpenSharedWithSync(spool.Options{
		Folder: folder, MaxBytes: frames * frame, SegmentBytes: 2 * frame, OnFault: func(err error) { t.Log(err) },
	}, noSync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The function `fillUp` appends records of an owner until the spool is full, and returns their number.
func fillUp(t *testing.T, s *spool.Shared, owner string) int {
	t.Helper()
	for n := 0; ; n++ {
		err := s.Append(owner, []byte(record))
		if errors.Is(err, spool.ErrFull) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The function `drained` drains at most `limit` records of an owner, and returns their number.
func drained(t *testing.T, s *spool.Shared, owner string, limit int) int {
	t.Helper()
	enough, n := errors.New("enough"), 0
	err := s.Drain(t.Context(), owner, func([]byte) error {
		if n == limit {
			return enough
		}
		n++
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return n
}

func TestASingleOwnerUsesAllSpace(t *testing.T) {
	folder := memory(t)
	s := shared(t, folder, 12)
	if n := fillUp(t, s, "a"); n != 12 {
		t.Errorf("%d records were appended, want 12", n)
	}
	// A second owner finds no space, but the first owner gets none either, until it has less than its part.
	if n := fillUp(t, s, "b"); n != 0 {
		t.Errorf("%d records of the second owner were appended, but there is no space", n)
	}
	drained(t, s, "a", 4)
	if a, b := fillUp(t, s, "a"), fillUp(t, s, "b"); a != 0 || b != 4 {
		t.Errorf("%d and %d records were appended, want 0 and 4", a, b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = shared(t, folder, 12)
	if got := s.Waiting(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("records of %q wait", got)
	}
	drained(t, s, "a", 4)
	if a, b := fillUp(t, s, "a"), fillUp(t, s, "b"); a != 2 || b != 2 {
		t.Errorf("after reopening, %d and %d records were appended, want 2 and 2", a, b)
	}
	for _, owner := range []string{"a", "b"} {
		if n := drained(t, s, owner, 100); n != 6 || s.Len(owner) != 0 {
			t.Errorf("%d records of %s were drained, want 6", n, owner)
		}
	}
	if got := s.Waiting(); len(got) > 0 {
		t.Errorf("records of %q wait", got)
	}
}

func TestTheSizeOfSharedSpools(t *testing.T) {
	folder := memory(t)
	s := shared(t, folder, 12)
	want := func(what string, records, frames int64) {
		t.Helper()
		if n, bytes := s.Size(); n != records || bytes != frames*frame {
			t.Errorf("%s: %d records wait, and the files have %d bytes, want %d and %d", what, n, bytes, records, frames*frame)
		}
	}
	want("at the beginning", 0, 0)
	s.Join("b")
	fillUp(t, s, "a")
	fillUp(t, s, "b")
	want("when both are full", 12, 12)
	drained(t, s, "a", 3)
	want("after three records were drained", 9, 10) // a file with two records was deleted
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = shared(t, folder, 12)
	want("after reopening", 9, 10)
	drained(t, s, "a", 3)
	drained(t, s, "b", 6)
	want("at the end", 0, 0)
}

func TestAnOwnerThatHasJoinedKeepsItsPart(t *testing.T) {
	s := shared(t, memory(t), 12)
	for _, owner := range []string{"a", "b", "c", "c"} {
		s.Join(owner)
	}
	var all sync.WaitGroup
	for _, owner := range []string{"a", "b"} {
		for range 4 {
			all.Go(func() { fillUp(t, s, owner) })
		}
	}
	all.Wait()
	if n := fillUp(t, s, "c"); n != 4 {
		t.Errorf("%d records were appended, want 4", n)
	}
	for _, owner := range []string{"a", "b", "c"} {
		if n := s.Len(owner); n != 4*frame {
			t.Errorf("the spool of %s has %d bytes, want %d", owner, n, 4*frame)
		}
	}
	// The other owners do not get the space that becomes free.
	drained(t, s, "a", 4)
	if n := fillUp(t, s, "b"); n != 0 {
		t.Errorf("%d records were appended, want none", n)
	}
}

func TestTheNamesOfOwners(t *testing.T) {
	owners := []string{"", ".", "..", "../up", "a/b", "a b", "a.owner", "ü\x00", "default"}
	long := strings.Repeat("/long", 100)
	folder := memory(t)
	s := shared(t, folder, 1000)
	for _, owner := range append(owners, long) {
		for i := range 2 {
			if err := s.Append(owner, fmt.Appendf(nil, "%s %d", owner, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		if got := s.Waiting(); len(got) != len(owners)+1 {
			t.Errorf("%s reopening, records of %q wait", when, got)
		}
		if when == "before" {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = shared(t, folder, 1000)
		}
	}
	for _, owner := range append(owners, long) {
		var got []string
		if err := s.Drain(t.Context(), owner, func(r []byte) error { got = append(got, string(r)); return nil }); err != nil {
			t.Error(err)
		}
		if want := []string{owner + " 0", owner + " 1"}; !slices.Equal(got, want) {
			t.Errorf("drained %q, want %q", got, want)
		}
	}
}

func TestSharedFoldersAreOpenedOnce(t *testing.T) {
	folder := memory(t)
	s := shared(t, folder, 10)
	if _, err := spool.OpenShared(s.Options); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append("a", nil); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := s.Append("a", make([]byte, spool.MaxRecordBytes+1)); err == nil || !strings.Contains(err.Error(), "split") {
		t.Errorf("got %v", err)
	}
}

// The damaged file of an owner needs space that the others do not get, until somebody deletes the file.
func TestDamagedFilesOfAnotherOwner(t *testing.T) {
	folder := memory(t)
	sub := filepath.Join(folder, "a.owner")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sub, "0000000000000001-0000000000000000.spool"), []byte(strings.Repeat("?", 2*frame)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := shared(t, folder, 4)
	if got := s.Waiting(); !slices.Equal(got, []string{"a"}) || drained(t, s, "a", 1) != 0 {
		t.Fatalf("records of %q wait", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = shared(t, folder, 4)
	if n := fillUp(t, s, "b"); n != 2 {
		t.Errorf("%d records were appended, want 2", n)
	}
	if err := os.Remove(filepath.Join(sub, "0000000000000001-0000000000000000.damaged")); err != nil {
		t.Fatal(err)
	}
	if n := fillUp(t, s, "b"); n != 2 {
		t.Errorf("%d more records were appended, want 2", n)
	}
}
