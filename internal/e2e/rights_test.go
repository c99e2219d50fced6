//go:build linux

package e2e

import (
	"bytes"
	"context"
	bytesof "encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture/probe"
)

// nobody is an ordinary user: no name, no groups, no rights.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// ordinary is a tiny workspace of an ordinary user, with a copy of devloop that is theirs.
func ordinary(t *testing.T) (w *workspace, devloop string) {
	t.Helper()
	w = tiny(t)
	devloop = filepath.Join(w.dir, "bin", "devloop")
	if err := os.Mkdir(filepath.Dir(devloop), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, program(t), devloop)
	if err := os.Chmod(devloop, 0o755); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(w.dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, int(nobody.Uid), int(nobody.Gid)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.nobodySays(t, 0, []string{"nothing is left"}, devloop, "down") })
	return w, devloop
}

// nobodySays is says for the ordinary user.
func (w *workspace) nobodySays(t *testing.T, code int, words []string, devloop string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, devloop, args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"HOME=" + w.dir, "XDG_RUNTIME_DIR=" + filepath.Join(w.dir, "run"), "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("devloop %s: %v", strings.Join(args, " "), err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("devloop %s: exit %d, want %d", strings.Join(args, " "), got, code)
	}
	for _, word := range words {
		if !strings.Contains(out.String(), word) {
			t.Errorf("devloop %s does not say %q", strings.Join(args, " "), word)
		}
	}
	if t.Failed() {
		t.Logf("devloop %s as an ordinary user:\n%s", strings.Join(args, " "), out.String())
	}
}

// setcap does what the command does that doctor names: it gives a program the needed capabilities, as version 2 of the
// attribute in include/uapi/linux/capability.h.
func setcap(t *testing.T, path string) {
	t.Helper()
	bits := map[string]uint{
		"cap_dac_override": unix.CAP_DAC_OVERRIDE, "cap_net_admin": unix.CAP_NET_ADMIN, "cap_net_raw": unix.CAP_NET_RAW,
		"cap_net_bind_service": unix.CAP_NET_BIND_SERVICE, "cap_sys_admin": unix.CAP_SYS_ADMIN,
		"cap_perfmon": unix.CAP_PERFMON, "cap_bpf": unix.CAP_BPF,
	}
	var permitted uint64
	for _, name := range probe.Needed {
		bit, ok := bits[name]
		if !ok {
			t.Fatalf("unknown capability %s", name)
		}
		permitted |= 1 << bit
	}
	attribute := bytesof.LittleEndian.AppendUint32(nil, 0x02000001) // version 2, effective
	for _, half := range []uint64{permitted, permitted >> 32} {
		attribute = bytesof.LittleEndian.AppendUint32(attribute, uint32(half))
		attribute = bytesof.LittleEndian.AppendUint32(attribute, 0) // inheritable
	}
	if err := unix.Setxattr(path, "security.capability", attribute, 0); err != nil {
		t.Fatalf("give %s capabilities: %v", path, err)
	}
}

// TestOrdinaryUser: without rights the services run and are driven on one loopback, and the answer is no pass but exit
// code 3 with the one command that grants the rights. With them all works.
func TestOrdinaryUser(t *testing.T) {
	w, devloop := ordinary(t)
	fix := "sudo setcap " + strings.Join(probe.Needed, ",") + "=ep " + devloop
	w.nobodySays(t, 3, []string{"capture: none (neither source works: not root, and without cap_bpf", "services: loopback", "fix: " + fix}, devloop, "doctor")
	w.nobodySays(t, 3, []string{"capture failed: packets cannot be captured here: network namespaces take rights that devloop does not have: CAP_SYS_ADMIN", "hint: " + fix}, devloop, "run")
	w.nobodySays(t, 0, []string{"environment local (loopback)", "capture none", "running"}, devloop, "status")
	w.nobodySays(t, 3, []string{"answered 200, expected 418; packets cannot be captured here"}, devloop, "run", "--exercise", "teapot")
	w.nobodySays(t, 3, []string{"echo exited with code 9", "the well is dry"}, devloop, "run", "--exercise", "crash")
	w.nobodySays(t, 3, []string{"hello 127.0.0.1:", "packets cannot be captured here"}, devloop, "run", "--", "sh", "-c", "echo hello $DEVLOOP_ECHO_HTTP")

	setcap(t, devloop)
	w.nobodySays(t, 0, []string{"capture: tap (the eBPF tap works)", "services: netns"}, devloop, "doctor", "--require", "tap")
	w.nobodySays(t, 0, []string{"capture works now", "local: netns, capture tap", "verdict: pass"}, devloop, "run")
	w.nobodySays(t, 0, []string{"nothing is left"}, devloop, "down")
	w.gone(t)
}

// TestMakefileNamesTheRights: `make devloop` grants what doctor says is needed.
func TestMakefileNamesTheRights(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "RIGHTS  := " + strings.Join(probe.Needed, ",") + "\n"; !strings.Contains(string(b), want) {
		t.Errorf("the Makefile does not say %q", want)
	}
}
