package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// withSecretKey returns c with the key that encrypts users' tokens. If no key is configured, withSecretKey reads the key from the
// file PATH.key beside the SQLite database PATH. The first call of withSecretKey creates the key file. Processes that start
// together get the same key.
func withSecretKey(c Config) (Config, error) {
	c.secretKeySource = "secret_key (" + variable("secret_key") + ")"
	if c.SecretKey != nil {
		return c, nil
	}
	path := secretKeyFile(c)
	c.secretKeySource = path + ", because " + variable("secret_key") + " is not set"
	read, err := readSecretKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeSecretKey(path); err != nil {
			return c, usage("making the secret key: %w", err)
		}
		read, err = readSecretKey(path)
	}
	c.SecretKey, c.sources = read, maps.Clone(c.sources)
	if c.sources == nil {
		c.sources = map[string]string{}
	}
	c.sources["secret_key"] = filepath.Base(path)
	return c, exit(exitUsage, err)
}

// If no key is configured, the secret key of an SQLite database is in a file. secretKeyFile returns the path of this file.
func secretKeyFile(c Config) string { return strings.TrimPrefix(c.DatabaseURL, "sqlite:") + ".key" }

// readSecretKey reads the key in the file at path.
func readSecretKey(path string) ([]byte, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the path is the operator's own setting
	if err != nil {
		return nil, fmt.Errorf("reading the secret key: %w", err)
	}
	read, err := key.parse(strings.TrimSpace(string(content)))
	if err != nil {
		return nil, fmt.Errorf("reading the secret key %s: %w", path, err)
	}
	return read, nil
}

// makeSecretKey creates the file at path with a new key. It does not change an existing file. makeSecretKey syncs the file to disk
// before the key is used, because the tokens in a database cannot be read without the key.
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
	if err := os.Link(file.Name(), path); !errors.Is(err, fs.ErrExist) { // unlike Rename, Link does not replace an existing file
		return err
	}
	return nil
}
