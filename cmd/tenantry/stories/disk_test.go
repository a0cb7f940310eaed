package stories_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The type `disk` is a small file system of one test. The test fills the file system with a ballast file.
type disk struct {
	dir  string
	room int // size in bytes
}

// newDisk mounts a disk whose owner is the user with the id uid. Only root can mount a disk.
func newDisk(t testing.TB, dir string, room, uid int) (*disk, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,uid=%d,mode=700", room, uid)); err != nil {
		return nil, fmt.Errorf("mounting a small file system: %w", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &disk{dir, room}, nil
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// The method `fill` grows the ballast until the disk is full.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	for step := int64(d.room); step >= int64(os.Getpagesize()); {
		err := syscall.Fallocate(int(f.Fd()), 0, size, step)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		case err != nil:
			return err
		default:
			size += step
		}
	}
	return nil
}

// The method `free` removes the ballast.
func (d *disk) free() error { return os.Remove(d.ballast()) }
