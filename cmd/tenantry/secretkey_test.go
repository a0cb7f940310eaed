package main

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func withDatabase(url string) (c Config) {
	c.DatabaseURL = url
	return c
}

func TestSecretKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "tenantry.db")
	c := withDatabase("sqlite:" + path)
	keys := make([][]byte, 8)
	var starts sync.WaitGroup
	for i := range keys {
		starts.Go(func() {
			with, err := withSecretKey(c)
			if err != nil {
				t.Error(err)
			}
			keys[i] = with.SecretKey
		})
	}
	starts.Wait()
	for _, k := range keys {
		if len(k) != 32 || !bytes.Equal(k, keys[0]) {
			t.Fatalf("got %x, want one key of 32 bytes for all calls", keys)
		}
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 || files[0].Name() != "tenantry.db.key" {
		t.Fatalf("got %v, %v, want only tenantry.db.key", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
}

func TestSecretKeyOfTheConfiguration(t *testing.T) {
	c := withDatabase("sqlite:" + filepath.Join(t.TempDir(), "tenantry.db"))
	c.SecretKey = testKey
	if got, err := withSecretKey(c); err != nil || !bytes.Equal(got.SecretKey, testKey) {
		t.Errorf("got %x, %v, want %x", got.SecretKey, err, testKey)
	}
}

func TestSecretKeyFileThatIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenantry.db")
	if err := os.WriteFile(path+".key", []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "reading the secret key " + path + ".key: the key must be 32 bytes in base64"
	if _, err := withSecretKey(withDatabase("sqlite:" + path)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
