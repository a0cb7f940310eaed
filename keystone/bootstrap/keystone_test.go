package bootstrap

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone/conn"
)

// ended stops the Keystone of this package, if it was started.
var ended = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	ended()
	os.Exit(code)
}

// The function `own` starts a real Keystone for the tests of this package. The tests add services to the catalog, and other packages have tests that
// ask each service in the catalog of the shared Keystone.
var own = sync.OnceValues(func() (url string, err error) {
	script, err := filepath.Abs("../../deploy/testservices/keystone")
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "bootstrap-keystone")
	if err != nil {
		return "", err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	port := fmt.Sprint(free.Addr().(*net.TCPAddr).Port)
	if err := free.Close(); err != nil {
		return "", err
	}
	cmd := exec.Command(script, filepath.Join(folder, "keystone"), port, ownPassword, "true")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return "", err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = log.Close()
		_ = os.RemoveAll(folder)
	}
	url = "http://127.0.0.1:" + port + "/v3"
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return url, nil
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			return "", fmt.Errorf("Keystone does not start: %w\n%s", err, said)
		}
	}
})

const ownPassword = "pw-of-bootstrap"

// The function `real` returns the configuration of a real Keystone, with the administrator's credential.
func real(t *testing.T) conn.Config {
	t.Helper()
	if os.Getenv("TENANTRY_TEST_KEYSTONE_URL") == "" {
		t.Fatal("run this test with `make test`, which installs Keystone")
	}
	address, err := own()
	if err != nil {
		t.Fatal(err)
	}
	t.Log("real: keystone")
	return conn.Config{URL: address, Credential: conn.Credential{
		Username: "admin", UserDomainID: "default", Password: ownPassword, ProjectName: "admin", ProjectDomainID: "default",
	}}
}
