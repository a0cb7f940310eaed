package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tenantry/tenantry/orchestrator/service"
)

func configuration(_ context.Context, x *examination) []Line {
	var lines []Line
	for _, fault := range x.Faults {
		for _, one := range split(fault) {
			// The text has the form "what is wrong; for example VALUE".
			text, example, has := strings.Cut(one.Error(), "; for example ")
			fix := instruction("correct this setting; docs/configuration.md describes it")
			if has {
				fix = instruction("correct this setting, for example: %s", example)
			}
			lines = append(lines, fail(fix, "%s", text))
		}
	}
	return orOK(lines, "the settings are valid")
}

// The function `files` warns of files with secrets that other users may read.
func files(_ context.Context, x *examination) []Line {
	var lines []Line
	for _, path := range append(x.SecretFiles, x.TLSKey) {
		// The check accepts that a group can read the file, because an administrator may have made the group for this purpose.
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o027 != 0 {
			lines = append(lines, warn(protect(path, info), "other users may read or change the file %s, which contains secrets", path))
		}
	}
	return orOK(lines, "other users may read or change no file with secrets")
}

// The function `protect` returns the fix for a file that other users may read or change. The user of this process can still read the file
// afterwards, even if another user owns the file.
func protect(path string, info fs.FileInfo) Fix {
	if s, known := info.Sys().(*syscall.Stat_t); !known || int(s.Uid) == os.Geteuid() {
		return command("chmod", "600", path)
	}
	group := strconv.Itoa(os.Getegid())
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return instruction("type as root: %s && %s", command("chgrp", group, path).Text, command("chmod", "640", path).Text)
}

func meters(_ context.Context, x *examination) []Line {
	if x.Meters == "" {
		return []Line{ok("no file: each meter is billed as the product with the meter's name")}
	}
	found, err := service.ReadMeters(x.Meters)
	if err != nil {
		var lines []Line
		for _, one := range split(err) {
			fix := instruction("correct the file; docs/operations.md describes it in \"Metered usage\"")
			if errors.Is(one, fs.ErrNotExist) || errors.Is(one, fs.ErrPermission) {
				fix = instruction("create the file and allow the user of the service to read it, or set TENANTRY_METERS to the path of another file")
			}
			lines = append(lines, fail(fix, "%v", one))
		}
		return lines
	}
	if len(found) == 0 {
		return []Line{warn(instruction("write meters into the file, or remove the setting TENANTRY_METERS"), "%s contains no meters", x.Meters)}
	}
	return []Line{ok("%s contains %d meters", x.Meters, len(found))}
}

func spool(_ context.Context, x *examination) []Line {
	if x.UsageSpool == "" {
		return []Line{ok("no spool: while the database is down, samples of Ceilometer are refused")}
	}
	dir := existing(x.UsageSpool)
	if err := writable(dir); err != nil {
		return []Line{fail(instruction("allow the user of the service to write the folder %s, or set TENANTRY_USAGE_SPOOL to another folder", dir),
			"the folder %s cannot be written: %v", dir, err)}
	}
	return []Line{ok("%s can be written", x.UsageSpool)}
}

// The function `existing` returns the path, or the nearest folder above it that exists.
func existing(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// The function `writable` returns an error if the user of this process cannot create files in the folder.
func writable(dir string) error {
	const write, search = 2, 1
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return syscall.ENOTDIR
	}
	return syscall.Access(dir, write|search)
}
