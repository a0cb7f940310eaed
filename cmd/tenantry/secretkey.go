package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// withSecretKey adds the key that users' tokens are sealed with where none is configured: with SQLite the one in PATH.key
// beside the database, which is made on the first call. Processes that start together get the same.
func withSecretKey(c Config) (Config, error) {
	c.secretKeySource = "secret_key (" + variable("secret_key") + ")"
	if c.SecretKey != nil {
		return c, nil
	}
	path := strings.TrimPrefix(c.DatabaseURL, "sqlite:") + ".key"
	c.secretKeySource = path + ", as " + variable("secret_key") + " is not set"
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeSecretKey(path); err == nil {
			content, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return c, usage("reading the secret key: %w", err)
	}
	if c.SecretKey, err = key.parse(strings.TrimSpace(string(content))); err != nil {
		return c, usage("reading the secret key %s: %w", path, err)
	}
	return c, nil
}

// makeSecretKey puts a whole key at path, unless there is one by now. The database must not outlive its key, so that it is on the
// disk before it is used.
func makeSecretKey(path string) error {
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(directory, ".key-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(secret[:]) + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); !errors.Is(err, fs.ErrExist) { // Link, unlike Rename, replaces nothing
		return err
	}
	return nil
}
