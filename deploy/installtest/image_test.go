package installtest

import (
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The type `stage` is one stage of a Dockerfile, as containertools prints it.
type stage struct {
	Name, From string
	Commands   []struct {
		Name   string
		Fields struct {
			SourcePaths     []string
			DestPath, Chown string
			CmdLine         []string // of RUN, CMD and ENTRYPOINT
			PrependShell    bool
			User            string
			Volumes         []string
			Health          struct{ Test []string }
			Args, Env       []struct{ Key, Value string }
		}
	}
}

const dockerfile = "../container/Dockerfile"

// imageUser is the user and the group of the images.
const imageUser = 65532

func stagesOf(t *testing.T, path string) (all []stage) {
	t.Helper()
	must(t, json.Unmarshal([]byte(containertools(t, "stages", path)), &all))
	return all
}

func TestTheDockerfilesPassTheLinter(t *testing.T) {
	for _, file := range []string{dockerfile, "../compose/keystone/Dockerfile"} {
		containertools(t, "lint", file)
	}
	faulty := filepath.Join(t.TempDir(), "Dockerfile")
	must(t, os.WriteFile(faulty, []byte("FROM scratch\nENV OS_PASSWORD=x\nCMD tenantry\n"), 0o600))
	tool, err := buildContainertools()
	must(t, err)
	_, err = try(t, ".", nil, tool, "lint", faulty)
	for _, rule := range []string{"SecretsUsedInArgOrEnv", "JSONArgsRecommended"} {
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("the linter does not find %s: %v", rule, err)
		}
	}
}

// The test carries out the commands of the Dockerfile, without a container engine: the commands of the first stage in a copy of the
// build context, and the copies of the second stage to an empty folder. In this folder as its root, the binary runs as the image's user.
func TestTheImagesBinaryRuns(t *testing.T) {
	all := stagesOf(t, dockerfile)
	if len(all) != 2 || all[1].From != "scratch" {
		t.Fatalf("got %d stages, want a build and an image from scratch", len(all))
	}
	built := carryOut(t, all[0])
	image := t.TempDir()
	var config imageConfig
	config.read(t, all[1], built, image)

	binary, err := elf.Open(filepath.Join(image, "usr/bin/tenantry"))
	must(t, err)
	defer func() { must(t, binary.Close()) }()
	if libraries, err := binary.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the binary is not static: %v, %v", libraries, err)
	}
	programs := 0
	for _, mode := range tree(t, image) {
		if mode&0o111 != 0 {
			programs++
		}
	}
	if programs != 1 {
		t.Errorf("the image has %d programs, want only tenantry", programs)
	}
	if want := fmt.Sprintf("%d:%[1]d", imageUser); config.user != want {
		t.Errorf("the image's user is %s, want %s", config.user, want)
	}

	c := config.inside(t, image, nil, "version")
	if out, err := c.Output(); err != nil || string(out) != "v1.2.3-test\n" {
		t.Errorf("version: %q, %v", out, err)
	}
	out, err := config.inside(t, image, nil, "serve", "--print-config").Output()
	for _, want := range []string{"listen: :9292\n", "database_url: sqlite:/var/lib/tenantry/tenantry.db\n"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("serve --print-config: %v, %s, want %s", err, out, want)
		}
	}
	config.serves(t, image)
}

// carryOut executes the commands of a stage in a copy of the build context, and returns the folder. The folders of the images are not
// available: all paths must be relative to the stage's folder.
func carryOut(t *testing.T, s stage) string {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(t, err)
	if release := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod); !strings.HasPrefix(s.From, "golang:"+string(release[1])+"-") {
		t.Errorf("the stage is from %s, but go.mod has Go %s", s.From, release[1])
	}
	source, folder := copied(t), t.TempDir()
	for _, secret := range []string{"tenantry.env", "tenantry.db", "tenantry.db.key", ".env"} {
		must(t, os.WriteFile(filepath.Join(source, secret), []byte("canary"), 0o600))
	}
	var context []string
	must(t, json.Unmarshal([]byte(containertools(t, "context", source)), &context))
	args := map[string]string{"TARGETOS": runtime.GOOS, "TARGETARCH": runtime.GOARCH, "VERSION": "v1.2.3-test"}
	var env []string
	for _, c := range s.Commands {
		switch c.Name {
		case "WORKDIR":
		case "ARG":
			for _, a := range c.Fields.Args {
				env = append(env, a.Key+"="+args[a.Key])
			}
		case "COPY":
			for _, name := range context {
				if slices.Contains(c.Fields.SourcePaths, name) || slices.Contains(c.Fields.SourcePaths, ".") {
					copyFile(t, filepath.Join(source, name), filepath.Join(folder, c.Fields.DestPath, name))
				}
			}
		case "RUN":
			if !c.Fields.PrependShell {
				t.Fatalf("RUN %q does not use the shell", c.Fields.CmdLine)
			}
			run(t, folder, env, "sh", "-c", strings.Join(c.Fields.CmdLine, " "))
		default:
			t.Fatalf("the test does not know %s", c.Name)
		}
	}
	for name := range tree(t, folder) {
		if base := path.Base(name); strings.HasPrefix(base, "tenantry.") || strings.HasPrefix(base, ".env") {
			t.Errorf("%s is in the build context", name)
		}
	}
	return folder
}

// imageConfig is the configuration of an image.
type imageConfig struct {
	user       string
	entry, cmd []string
	health     []string
	env        []string
	state      string // the folder of the volume
	stateOwner string
}

// The method `read` reads the commands of a stage, and carries out its copies.
func (c *imageConfig) read(t *testing.T, s stage, built, image string) {
	t.Helper()
	for _, cmd := range s.Commands {
		f := cmd.Fields
		switch cmd.Name {
		case "COPY":
			from := f.SourcePaths[0]
			if inStage, ok := strings.CutPrefix(from, "/src/"); ok {
				from = filepath.Join(built, inStage)
			}
			to := filepath.Join(image, f.DestPath)
			if info, err := os.Stat(from); err == nil && info.IsDir() {
				must(t, os.MkdirAll(to, 0o700))
				c.state, c.stateOwner = f.DestPath, f.Chown
				continue
			}
			copyFile(t, from, filepath.Join(to, filepath.Base(from)))
		case "ENV":
			for _, e := range f.Env {
				c.env = append(c.env, e.Key+"="+e.Value)
			}
		case "USER":
			c.user = f.User
		case "ENTRYPOINT":
			c.entry = f.CmdLine
		case "CMD":
			c.cmd = f.CmdLine
		case "HEALTHCHECK":
			c.health = f.Health.Test
		case "VOLUME":
			if !slices.Equal(f.Volumes, []string{c.state}) {
				t.Errorf("the volumes are %v, and the folder of the state is %s", f.Volumes, c.state)
			}
		case "EXPOSE", "ARG", "LABEL":
		default:
			t.Fatalf("the test does not know %s", cmd.Name)
		}
	}
	if c.stateOwner != c.user {
		t.Errorf("the state belongs to %s, and the user is %s", c.stateOwner, c.user)
	}
	must(t, os.Chmod(image, 0o555))
	must(t, filepath.WalkDir(image, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && name != filepath.Join(image, c.state) {
			err = os.Chmod(name, 0o555) // as with a read-only root: only the volume can be written
		}
		return err
	}))
	t.Cleanup(func() {
		must(t, filepath.WalkDir(image, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = os.Chmod(name, 0o755)
			}
			return err
		}))
	})
}

// The method `inside` returns a command that runs in the folder of the image as its root. In a user namespace, the command's user has the
// number of the image's user, and no capabilities.
func (c *imageConfig) inside(t *testing.T, image string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/usr/bin/"+c.entry[0], args...)
	cmd.Env, cmd.Dir = append(slices.Clone(c.env), env...), "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: image, Cloneflags: syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}

// The method `serves` starts the image's default command, and checks its health with the image's health check.
func (c *imageConfig) serves(t *testing.T, image string) {
	t.Helper()
	env := slices.DeleteFunc(serveEnv(t), func(line string) bool { return strings.HasPrefix(line, "TENANTRY_DATABASE_URL=") })
	env = append(env, "TENANTRY_LISTEN=127.0.0.1:"+freePort(t))
	server := c.inside(t, image, env, c.cmd...)
	log, err := os.CreateTemp(t.TempDir(), "log")
	must(t, err)
	server.Stderr = log
	must(t, server.Start())
	healthy := func() error { return c.inside(t, image, env, c.health[2:]...).Run() }
	if c.health[0] != "CMD" || c.health[1] != c.entry[0] {
		t.Fatalf("the health check is %q", c.health)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for err = healthy(); err != nil && ctx.Err() == nil; err = healthy() {
		time.Sleep(50 * time.Millisecond)
	}
	must(t, server.Process.Signal(syscall.SIGTERM))
	stopped := server.Wait()
	_, _ = log.Seek(0, io.SeekStart)
	printed, _ := io.ReadAll(log)
	if err != nil || stopped != nil {
		t.Errorf("health %v, exit %v: %s", err, stopped, printed)
	}
	if healthy() == nil {
		t.Error("healthy without a server")
	}
	for _, name := range []string{"tenantry.db", "tenantry.db.key"} {
		if _, err := os.Stat(filepath.Join(image, c.state, name)); err != nil {
			t.Error(err)
		}
	}
}
