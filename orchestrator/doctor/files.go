package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
		if exposed(path) {
			lines = append(lines, warn(command("chmod", "600", path), "other users may read or change the file %s, which contains secrets", path))
		}
	}
	return orOK(lines, "only the user of this process may read the files with secrets")
}

// The function `exposed` reports whether other users may read or write the file. A group may read it, because an administrator may have made the
// group for this purpose.
func exposed(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o027 != 0
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
		return []Line{ok("no spool: while the database is away, samples of Ceilometer are refused")}
	}
	if dir := existing(x.UsageSpool); !writable(dir) {
		return []Line{fail(instruction("allow the user of the service to write the folder %s, or set TENANTRY_USAGE_SPOOL to another folder", dir),
			"the folder %s cannot be written", dir)}
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

// The function `writable` reports whether the user of this process may create files in the folder.
func writable(dir string) bool {
	const write, search = 2, 1
	info, err := os.Stat(dir)
	return err == nil && info.IsDir() && syscall.Access(dir, write|search) == nil
}
