package spool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/usage/spool"
)

// The tests in this file start the test binary again, as a child that runs one of these functions instead of the tests.
var children = map[string]func(folder string) error{
	"append":           appendAndPrint,
	"append and drain": appendDrainAndPrint,
	"tmpfs":            fillTmpfs,
	"file size limit":  fillUpToLimit,
}

const (
	childVariable  = "TENANTRY_TEST_SPOOL_CHILD"
	folderVariable = "TENANTRY_TEST_SPOOL_FOLDER"
	firstVariable  = "TENANTRY_TEST_SPOOL_FIRST" // the number of the child's first record
)

// errNotPermitted says that the environment does not let a child mount a file system.
var errNotPermitted = errors.New("mounting is not permitted")

func TestMain(m *testing.M) {
	run := children[os.Getenv(childVariable)]
	if run == nil {
		os.Exit(m.Run())
	}
	if err := run(os.Getenv(folderVariable)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(t *testing.T, name, folder string, first int) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name, folderVariable+"="+folder, fmt.Sprintf("%s=%d", firstVariable, first))
	return cmd
}

// The function `content` returns the content of a numbered record, which may be longer than a page.
func content(n int) string {
	return fmt.Sprintf("%d %s", n, strings.Repeat(string(rune('a'+n%26)), n*7919%9000))
}

func appendAndPrint(folder string) error { return appendUntilKilled(folder, false) }

func appendDrainAndPrint(folder string) error { return appendUntilKilled(folder, true) }

func appendUntilKilled(folder string, drain bool) error {
	s, err := spool.Open(spool.Options{
		Folder: folder, MaxBytes: 1 << 30, SegmentBytes: 50_000, OnFault: func(err error) { fmt.Println("fault", err) },
	})
	if err != nil {
		return err
	}
	var next atomic.Int64
	first := 0
	if _, err := fmt.Sscan(os.Getenv(firstVariable), &first); err != nil {
		return err
	}
	next.Store(int64(first))
	for range 8 {
		go func() {
			for {
				n := int(next.Add(1))
				if err := s.Append([]byte(content(n))); err != nil {
					fmt.Println("fault", err)
				}
				fmt.Println("appended", n)
			}
		}()
	}
	if !drain {
		select {}
	}
	for range s.Ready() {
		err := s.Drain(context.Background(), func(record []byte) error {
			n := 0
			if _, err := fmt.Sscan(string(record), &n); err != nil || string(record) != content(n) {
				fmt.Printf("fault: drained %.50q\n", record)
			}
			fmt.Println("drained", n)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestAnAcknowledgedRecordSurvivesKill9(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spool")
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	waiting := map[int]bool{} // the numbers of the records that were appended and not drained
	total := 0
	began := time.Now()
	for round := 0; round < 12 || len(waiting) > 0; round++ {
		name := "append"
		if round%4 == 1 {
			name = "append and drain"
		}
		cmd := child(t, name, folder, round*1_000_000)
		appended, drained := runAndKill(t, cmd, 2+random.IntN(300), time.Duration(random.IntN(3000))*time.Microsecond)
		total += len(appended)
		for _, n := range appended {
			waiting[n] = true
		}
		for _, n := range drained { // possibly before the Append returned
			delete(waiting, n)
		}
		if round%3 == 0 && time.Since(began) < 2*time.Second {
			continue // the next child opens the folder after the crash
		}
		f := open(t, folder, nil, segmentBytes(50_000))
		f.append(content(0)) // the spool can be used
		waiting[0] = true
		for _, record := range f.drain() {
			n := 0
			if _, err := fmt.Sscan(record, &n); err != nil || record != content(n) {
				t.Fatalf("round %d with the seed %d: drained %.50q", round, seed, record)
			}
			delete(waiting, n)
		}
		f.close()
		if len(waiting) > 0 {
			t.Fatalf("round %d with the seed %d: these records were appended, but never drained: %v", round, seed, waiting)
		}
		if time.Since(began) > 2*time.Second {
			break
		}
	}
	t.Logf("%d records were appended", total)
}

// The function `runAndKill` kills the child some time after it has printed some lines, and returns the numbers that it has printed.
func runAndKill(t *testing.T, cmd *exec.Cmd, lines int, after time.Duration) (appended, drained []int) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		n := 0
		switch line := scanner.Text(); {
		case scan(line, "appended", &n):
			appended = append(appended, n)
		case scan(line, "drained", &n):
			drained = append(drained, n)
		default:
			t.Errorf("the child printed %q", line)
		}
		switch len(appended) + len(drained) {
		case 1:
			time.AfterFunc(200*time.Millisecond, func() { cmd.Process.Kill() }) // the disk may be busy
		case lines:
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the child ended by itself: %v", err)
	}
	return appended, drained
}

func scan(line, word string, n *int) bool {
	_, err := fmt.Sscanf(line, word+" %d", n)
	return err == nil
}

func TestAFullDisk(t *testing.T) {
	for _, name := range []string{"tmpfs", "file size limit"} {
		t.Run(name, func(t *testing.T) {
			cmd := child(t, name, memory(t), 0)
			if name == "tmpfs" { // the child mounts it in a mount namespace of its own, so that the kernel unmounts it
				cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
				if uid := os.Getuid(); uid != 0 {
					cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
					cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
					cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
				}
			}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if name == "tmpfs" && (err != nil && !errors.As(err, &exit) || strings.Contains(string(out), errNotPermitted.Error())) {
				t.Logf("mounting a tmpfs is not permitted, but the other case fills a disk too: %v %s", err, out)
				return
			}
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func fillTmpfs(folder string) error {
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=1m,mode=700"); err != nil {
		return fmt.Errorf("%w: %w", errNotPermitted, err)
	}
	other := filepath.Join(folder, "other") // another file on this disk
	if err := os.WriteFile(other, make([]byte, 500_000), 0o600); err != nil {
		return err
	}
	return fill(folder, syscall.ENOSPC, func() error { return os.Remove(other) })
}

func fillUpToLimit(folder string) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	before := limit.Cur
	limit.Cur = 300_000
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	return fill(folder, syscall.EFBIG, func() error {
		limit.Cur = before
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	})
}

// The function `fill` appends records until the disk is full, frees space, and appends records again.
func fill(folder string, full error, free func() error) error {
	o := spool.Options{Folder: filepath.Join(folder, "spool"), MaxBytes: 1 << 30, OnFault: func(err error) { fmt.Println("fault", err) }}
	s, err := spool.Open(o)
	if err != nil {
		return err
	}
	var want []string
	want, err = appendUntilFull(s, want)
	if !errors.Is(err, spool.ErrFull) || !errors.Is(err, full) || !strings.Contains(err.Error(), folder) {
		return fmt.Errorf("after %d records: got %w, want ErrFull", len(want), err)
	}
	if err := checkSize(o.Folder, want); err != nil {
		return err
	}
	if full == syscall.ENOSPC { //nolint:errorlint // a constant
		if err := s.Append(make([]byte, 50_000)); !errors.Is(err, spool.ErrFull) {
			return fmt.Errorf("a repeated append: got %w, want ErrFull", err)
		}
		if err := checkSize(o.Folder, want); err != nil {
			return err
		}
	}
	if err := free(); err != nil {
		return err
	}
	for n := 1000; n < 1020; n++ {
		if err := s.Append([]byte(content(n))); err != nil {
			return fmt.Errorf("after space was freed: %w", err)
		}
		want = append(want, content(n))
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = spool.Open(o); err != nil {
		return err
	}
	var got []string
	err = s.Drain(context.Background(), func(record []byte) error {
		got = append(got, string(record))
		return nil
	})
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("drained %d records, want %d", len(got), len(want))
	}
	return errors.Join(err, s.Close())
}

func appendUntilFull(s *spool.Spool, appended []string) ([]string, error) {
	for n := range 1000 {
		if err := s.Append([]byte(content(n))); err != nil {
			return appended, err
		}
		appended = append(appended, content(n))
	}
	return appended, nil
}

// The function `checkSize` returns an error if the files contain more than these records.
func checkSize(folder string, records []string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	got, want := int64(0), int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		got += info.Size()
	}
	for _, record := range records {
		want += int64(len(record)) + spool.HeaderBytes
	}
	if got != want {
		return fmt.Errorf("the files have %d bytes, want %d", got, want)
	}
	return nil
}
