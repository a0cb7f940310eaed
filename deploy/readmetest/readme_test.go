package readmetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// TestTheReadmesCommandsWork runs the README's commands in order, in two shells. The shells work in a copy of the repository, and
// use a real Keystone. The test replaces values in the file tenantry.env, as the README tells the reader to do. The test does not
// change the README's commands.
func TestTheReadmesCommandsWork(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := blocks(string(readme))
	if err != nil {
		t.Fatal(err)
	}
	keystone, password := ownKeystone(t)
	edits := map[string]string{
		"OS_AUTH_URL": keystone, "OS_PASSWORD": password,
		"TENANTRY_LISTEN": freeAddress(t), "TENANTRY_BILLING_LISTEN": freeAddress(t),
	}
	directory, env := copied(t), cleanEnvironment()
	shells := map[string]*shell{}
	for _, name := range []string{"1", "2"} {
		shells[name] = newShell(t, name, directory, env)
		defer shells[name].end()
	}
	var serving block
	for _, b := range all {
		s := shells[b.shell]
		switch {
		case b.file != "":
			if b, err = b.with(edits); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(directory, b.file), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		case s == nil:
			t.Fatalf("README.md line %d: there is no shell %s", b.line, b.shell)
		case strings.Contains(b.text, "tenantry serve"):
			serving = b
			s.start(b)
		default:
			s.start(b)
			s.await(b)
		}
	}
	if serving.text == "" {
		t.Fatal("the README does not start the service")
	}
	shells["1"].interrupt()
	shells["1"].await(serving)

	printed := shells["2"].printed()
	for text, want := range map[string]int{
		`"ready":true`:                  1,
		`(?m)^HTTP/1.1 201 Created`:     2, // the answers to the order and to the repeated order
		`(?m)^Idempotency-Replayed: tr`: 1,
		`(?m)^state +succeeded$`:        1,
		`\| bs-customer-`:               1,
		`\| bs-subscription-`:           1,
	} {
		if n := len(regexp.MustCompile(text).FindAllString(printed, -1)); n != want {
			t.Errorf("shell 2 printed %d matches of %s, want %d", n, text, want)
		}
	}
}

// ownKeystone starts a Keystone for this test only, because other tests create roles with the same names.
func ownKeystone(t *testing.T) (url, password string) {
	t.Helper()
	services := exec.CommandContext(t.Context(), filepath.Join(root, "deploy/testservices/run"), "--",
		"sh", "-c", `echo "$TENANTRY_TEST_KEYSTONE_URL $TENANTRY_TEST_KEYSTONE_PASSWORD" && cat`)
	services.Stderr = os.Stderr
	services.Cancel = func() error { return services.Process.Signal(os.Interrupt) }
	end, err := services.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := services.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := services.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = end.Close()
		_ = services.Wait()
	})
	if _, err := fmt.Fscanln(out, &url, &password); err != nil {
		t.Fatal("starting a Keystone: ", err)
	}
	t.Log("real: keystone")
	return url, password
}

// The function `copied` copies the repository to a new directory, and returns the directory. The copy has all files that git
// tracks, and new files that git does not ignore.
func copied(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal("listing the files of the repository: ", err)
	}
	directory := t.TempDir()
	for name := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		from, to := filepath.Join(root, name), filepath.Join(directory, name)
		info, err := os.Lstat(from)
		if err != nil || !info.Mode().IsRegular() {
			continue // the file was deleted, or is not a regular file
		}
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, content, info.Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// cleanEnvironment returns this process's environment without variables that configure Tenantry, the openstack command, Python or
// make. Requests to 127.0.0.1 bypass any proxy.
func cleanEnvironment() []string {
	env := slices.DeleteFunc(os.Environ(), func(line string) bool {
		return regexp.MustCompile(`^(OS_|TENANTRY_|PYTHON|VIRTUAL_ENV=|MAKE)`).MatchString(line)
	})
	return append(env, "LC_ALL=C.UTF-8", "no_proxy=127.0.0.1")
}

// freeAddress returns a free TCP address. The port is below the kernel's range for outgoing connections.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(17000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
