package servicetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The function `portals` writes the file with the portals of merchants, and returns its path.
func portals(t testing.TB, all ...Merchant) string {
	t.Helper()
	folder := t.TempDir()
	path, text := filepath.Join(folder, "portals.yaml"), "portals:\n"
	for i, m := range all {
		secret := filepath.Join(folder, m.ID)
		must(t, os.WriteFile(secret, []byte(m.Secret), 0o600))
		text += fmt.Sprintf("- {merchant: %s, name: Shop %d, key: %s, secret_file: %s, currency: NOK}\n", m.ID, i+1, m.Key, secret)
	}
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
