package installtest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The function `tree` returns the mode of each file under a folder, by its path in the folder.
func tree(t *testing.T, folder string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			found[strings.TrimPrefix(path, folder)] = info.Mode()
		}
		return err
	}))
	return found
}

// `make install` installs a binary with its version, and does not change an existing configuration. `make uninstall` leaves only the
// configuration.
func TestMakeInstall(t *testing.T) {
	source, dest := copied(t), filepath.Join(t.TempDir(), "a folder")
	options := []string{"--no-print-directory", "DESTDIR=" + dest, "PREFIX=/opt/tenantry", "sysconfdir=/opt/etc", "VERSION=v1.2.3-test"}
	install := func(target string) { t.Helper(); run(t, source, nil, "make", append([]string{target}, options...)...) }
	install("install")
	got := tree(t, dest)
	for path, mode := range map[string]fs.FileMode{
		"/opt/tenantry/bin/tenantry":                            0o755,
		"/opt/tenantry/lib/systemd/system/tenantry.service":     0o644,
		"/opt/tenantry/lib/sysusers.d/tenantry.conf":            0o644,
		"/opt/tenantry/share/doc/tenantry/README.md":            0o644,
		"/opt/tenantry/share/doc/tenantry/tenantry.yaml":        0o644,
		"/opt/tenantry/share/doc/tenantry/docs/installation.md": 0o644,
		"/opt/etc/tenantry/tenantry.yaml":                       0o644,
		"/opt/etc/tenantry/tenantry.env":                        0o600,
	} {
		if got[path] != mode {
			t.Errorf("%s has the mode %v, want %v", path, got[path], mode)
		}
	}
	for path := range got {
		if !strings.HasPrefix(path, "/opt/tenantry/") && !strings.HasPrefix(path, "/opt/etc/tenantry/") {
			t.Errorf("%s is outside PREFIX and sysconfdir", path)
		}
		content, err := os.ReadFile(filepath.Join(dest, path))
		must(t, err)
		moved := strings.HasSuffix(path, ".service") || strings.HasSuffix(path, ".env")
		if moved && (strings.Contains(string(content), "/usr/local/") || strings.Contains(string(content), "/etc/tenantry") != strings.Contains(string(content), "/opt/etc/tenantry")) {
			t.Errorf("%s has a path that was not installed:\n%s", path, content)
		}
	}
	if got := run(t, dest, nil, filepath.Join(dest, "opt/tenantry/bin/tenantry"), "version"); got != "v1.2.3-test\n" {
		t.Errorf("the binary has the version %q", got)
	}

	for name := range ours {
		must(t, os.WriteFile(filepath.Join(dest, "opt/etc/tenantry", name), []byte("# ours\n"), 0o640))
	}
	install("install")
	install("uninstall")
	if left := tree(t, dest); !maps.Equal(left, map[string]fs.FileMode{"/opt/etc/tenantry/tenantry.yaml": 0o644, "/opt/etc/tenantry/tenantry.env": 0o600}) {
		t.Errorf("after make uninstall, there are %v", slices.Sorted(maps.Keys(left)))
	}
	for name := range ours {
		if content, err := os.ReadFile(filepath.Join(dest, "opt/etc/tenantry", name)); err != nil || string(content) != "# ours\n" {
			t.Errorf("make install has replaced %s: %v, %s", name, err, content)
		}
	}
}

// The constant `ours` names the files of the configuration, which belong to the operator.
var ours = map[string]bool{"tenantry.yaml": true, "tenantry.env": true}
