package shop_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/testenv"
)

// TestRealServers runs the journeys on a real PostgreSQL and a real Redis, started by the commands of devloop.yaml. What
// the stand-ins answer differently shows here.
func TestRealServers(t *testing.T) {
	// Debian keeps PostgreSQL's server programs off the PATH.
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin"); len(found) > 0 {
		t.Setenv("PATH", os.Getenv("PATH")+":"+found[len(found)-1])
	}
	testenv.NeedsProgram(t, "postgres")
	testenv.NeedsProgram(t, "redis-server")
	c, err := config.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	sql := startDependency(t, c.Dependencies["catalogue-db"].Local, "sql", func(ctx context.Context, address string) error {
		conn, err := pgx.Connect(ctx, "postgres://shop@"+address+"/shop?sslmode=disable")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	cache := startDependency(t, c.Dependencies["cache"].Local, "redis", func(ctx context.Context, address string) error {
		client := redis.NewClient(&redis.Options{Addr: address, Protocol: 2, DisableIdentity: true})
		defer client.Close()
		return client.Ping(ctx).Err()
	})
	for _, fault := range []string{"", "db-churn,cache-miss,n-plus-one-sql,redis-keys", "sql-error,sql-slow,redis-error,cart-miss"} {
		t.Run("fault="+fault, func(t *testing.T) {
			s := &running{alone: alone}
			s.start(t, fault, sql, cache)
			if diff := cmp.Diff(answersOf(""), s.journeys(t, sent)); diff != "" {
				t.Errorf("what users were answered (-want +got):\n%s", diff)
			}
		})
	}
}

// startDependency runs a dependency's init and command as localenv does, on a free port, and returns its address.
func startDependency(t *testing.T, d *config.LocalDependency, port string, ping func(context.Context, string) error) string {
	t.Helper()
	l := listen(t)
	address := l.Addr().String()
	_, number, _ := net.SplitHostPort(address)
	l.Close()
	data, err := os.MkdirTemp("", "shop-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	command := func(text string) *exec.Cmd {
		var filled strings.Builder
		values := map[string]any{"Data": data, "Port": map[string]string{port: number}}
		if err := template.Must(template.New("").Option("missingkey=error").Parse(text)).Execute(&filled, values); err != nil {
			t.Fatal(err)
		}
		words, err := config.SplitWords(filled.String())
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = data
		cmd.SysProcAttr = asUser(t, d.User, data)
		return cmd
	}
	if d.Init != "" {
		if out, err := command(d.Init).CombinedOutput(); err != nil {
			t.Fatalf("init: %v\n%s", err, out)
		}
	}
	server := command(d.Command)
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGINT)
		server.Wait()
	})
	if err := shop.Eventually(t.Context(), 20*time.Second, func() error { return ping(t.Context(), address) }); err != nil {
		server.Process.Kill()
		server.Wait()
		t.Fatalf("%s: %v\n%s", d.Command, err, log.String())
	}
	return address
}

// asUser gives data to a user and lets a process run as them, where this test is root and the server refuses that.
func asUser(t *testing.T, name, data string) *syscall.SysProcAttr {
	t.Helper()
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if name == "" || os.Geteuid() != 0 {
		return attr
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(data, uid, gid); err != nil {
		t.Fatal(err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr
}
