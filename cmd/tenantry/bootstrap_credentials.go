package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/bootstrap"
)

// The type `variableLine` is a line of the file of credentials.
type variableLine struct{ name, value string }

// serviceVariables returns the variables that `tenantry serve` needs. Empty variables override variables of another login in the same
// environment.
func serviceVariables(s bootstrap.Setup, c Config, authURL, cacert string, b *bootstrap.Bootstrap, password string) []variableLine {
	all := []variableLine{
		{"OS_AUTH_URL", authURL},
		{"OS_IDENTITY_API_VERSION", "3"},
		{"OS_USERNAME", s.User},
		{passwordVariable, password},
		{"OS_USER_DOMAIN_ID", b.UserDomainID()},
	}
	domain := serviceDomain(s, b)
	if s.Persona == bootstrap.DomainManager {
		all = append(all, variableLine{"OS_DOMAIN_ID", domain})
	} else {
		all = append(all, variableLine{"OS_PROJECT_NAME", s.Project}, variableLine{"OS_PROJECT_DOMAIN_ID", b.UserDomainID()})
	}
	if path, err := filepath.Abs(cacert); err == nil && cacert != "" { // the service may start in another folder
		all = append(all, variableLine{"OS_CACERT", path})
	}
	for _, name := range otherLogin {
		if !slices.ContainsFunc(all, func(v variableLine) bool { return v.name == name }) {
			all = append(all, variableLine{name, ""})
		}
	}
	return append(all, matchingSettings(c, domain)...)
}

// serviceDomain returns the value of the setting `domain`. A domain manager may not look a domain up by its name, and needs the id.
func serviceDomain(s bootstrap.Setup, b *bootstrap.Bootstrap) string {
	if s.Persona == bootstrap.DomainManager {
		return b.DomainID()
	}
	return s.Domain
}

const passwordVariable = "OS_PASSWORD"

// otherLogin lists the variables that would change the login if they kept their values.
var otherLogin = []string{
	"OS_CLOUD", "OS_TOKEN", "OS_AUTH_TYPE", "OS_USER_ID", "OS_USERID", "OS_USER_DOMAIN_NAME", "OS_PROJECT_ID", "OS_PROJECT_NAME",
	"OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME", "OS_TENANT_ID", "OS_TENANT_NAME", "OS_DOMAIN_ID", "OS_DOMAIN_NAME", "OS_SYSTEM_SCOPE",
	"OS_DEFAULT_DOMAIN_ID", "OS_DEFAULT_DOMAIN_NAME",
	"OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME", "OS_APPLICATION_CREDENTIAL_SECRET",
}

// matchingSettings returns the settings with which `tenantry serve` uses the objects in Keystone.
func matchingSettings(c Config, domain string) []variableLine {
	return []variableLine{
		{variable("domain"), domain},
		{variable("admin_role"), c.AdminRole},
		{variable("customer_roles"), strings.Join(c.CustomerRoles, ",")},
		{variable("subscription_roles"), strings.Join(c.SubscriptionRoles, ",")},
	}
}

func settingsOf(c Config, domain string) string {
	var all []string
	for _, v := range matchingSettings(c, domain) {
		all = append(all, v.name+"="+bootstrap.Quote(v.value))
	}
	return strings.Join(all, " ")
}

// credentialsFile is the file with the service user's password. A shell and systemd can read the file.
type credentialsFile struct {
	path    string // empty if there is no file
	given   string // the password in --password-file; empty if there is none
	content func(password string) []variableLine

	object *bootstrap.Object // the state of the file; nil if it was neither read nor written
	isNew  bool              // this process has created the file
}

// The method `password` implements [bootstrap.Password]. Before the service user is created, the file is on the disk.
func (f *credentialsFile) password(exists bool) (string, error) {
	if f.path == "" {
		return f.given, nil
	}
	stored, err := f.read()
	if errors.Is(err, fs.ErrNotExist) && exists {
		return f.given, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		password := f.given
		if password == "" {
			var secret [32]byte
			_, _ = rand.Read(secret[:])
			password = base64.RawURLEncoding.EncodeToString(secret[:])
		}
		if err = f.create(password); err == nil {
			return password, nil
		}
		if errors.Is(err, fs.ErrExist) { // another process has just created it
			stored, err = f.read()
		}
	}
	switch {
	case err != nil:
		return "", usage("--credentials: %w", err)
	case f.given != "" && f.given != stored:
		return "", usage("--credentials: %s has another password than --password-file", f.path)
	}
	return stored, nil
}

// maxCredentials is the maximum size of the file, in bytes.
const maxCredentials = 64 << 10

// The method `read` returns the password in an existing file, and compares the file with the content that it should have.
func (f *credentialsFile) read() (string, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || info.Size() > maxCredentials {
		return "", fmt.Errorf("%s is not a file that only its owner can read: type chmod 600, or name another file", f.path)
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return "", err
	}
	values := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			values[name] = value
		}
	}
	password, ok := ofEnvValue(values[passwordVariable])
	if !ok || password == "" {
		return "", fmt.Errorf("%s exists, but has no %s: name a new file", f.path, passwordVariable)
	}
	f.object = &bootstrap.Object{Kind: "file", Name: f.path, State: bootstrap.Exists}
	for _, v := range f.content(password) {
		if was, has := values[v.name]; !has || was != envValue(v.value) {
			f.object.State = bootstrap.Differs
			f.object.Differs = append(f.object.Differs, v.name+" has another value")
			f.object.Fix = append(f.object.Fix, "edit the file: "+v.name+"="+envValue(v.value))
		}
	}
	return password, nil
}

// The method `create` writes a new file with mode 0600 and syncs it to the disk. If the path exists, the error is [fs.ErrExist].
func (f *credentialsFile) create(password string) error {
	var b bytes.Buffer
	b.WriteString("# Keystone credential of Tenantry's service user, and the settings of tenantry serve that match it.\n")
	for _, v := range f.content(password) {
		fmt.Fprintf(&b, "%s=%s\n", v.name, envValue(v.value))
	}
	directory, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	defer directory.Close()
	file, err := os.CreateTemp(filepath.Dir(f.path), ".credentials-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(b.Bytes())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Link(file.Name(), f.path); err != nil { // unlike Rename, Link does not replace an existing file
		return err
	}
	f.isNew, f.object = true, &bootstrap.Object{Kind: "file", Name: f.path, State: bootstrap.Created}
	return directory.Sync()
}

// removeNew removes the file if this process has created it: its password is not the password of the service user.
func (f *credentialsFile) removeNew() error {
	if !f.isNew {
		return nil
	}
	f.object = nil
	return os.Remove(f.path)
}

// The function `envValue` returns a value as a shell and systemd read it. The value has no newline. The value is in double quotes, because a
// shell and systemd both accept an escaped quotation mark between double quotes, but not between single quotes. The value is one quoted
// text, because systemd does not join several quoted texts to one value.
func envValue(value string) string {
	if plainValue.MatchString(value) {
		return value
	}
	return `"` + special.ReplaceAllString(value, `\$0`) + `"`
}

// plainValue matches a value that a shell and systemd do not change when they read it.
var plainValue = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-]*$`)

// The variable `special` matches the characters that a shell and systemd do not read as they are between double quotes.
var special = regexp.MustCompile("[\"\\\\$`]")

// The function `ofEnvValue` is the inverse of `envValue`.
func ofEnvValue(text string) (value string, ok bool) {
	value = text
	if strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) && len(text) > 1 {
		value = escaped.ReplaceAllString(text[1:len(text)-1], "$1")
	}
	return value, envValue(value) == text
}

// The variable `escaped` matches an escaped character between double quotes.
var escaped = regexp.MustCompile(`\\(.)`)

// passwordIn reads a password from a file, or from standard input if the path is "-". One newline at the end is not a part of the
// password. The error does not contain the password.
func (p *program) passwordIn(path string) (string, error) {
	in := p.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		defer file.Close()
		in = file
	}
	content, err := io.ReadAll(io.LimitReader(in, 4097))
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if password == "" || len(content) > 4096 || keystone.HasControl(password) {
		return "", errors.New("--password-file: a password has 1 to 4096 bytes, in one line without control characters")
	}
	return password, nil
}
