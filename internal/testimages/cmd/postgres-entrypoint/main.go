// Command postgres-entrypoint is the first process of the test image of PostgreSQL: it makes a database cluster where there
// is none and becomes the server, as the official image's entrypoint does.
package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "postgres-entrypoint:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	data := os.Getenv("PGDATA")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil {
		if err := initialise(data); err != nil {
			return err
		}
	}
	if len(args) > 0 && args[0] == "postgres" {
		args = args[1:]
	}
	server, err := exec.LookPath("postgres")
	if err != nil {
		return err
	}
	return syscall.Exec(server, append([]string{"postgres", "-D", data, "-k", "/tmp", "-c", "listen_addresses=*"}, args...), os.Environ())
}

// initialise makes the database cluster, the user and the database. Nothing listens meanwhile, so a probe finds the server
// only when all of it is there.
func initialise(data string) error {
	if os.Getenv("POSTGRES_HOST_AUTH_METHOD") != "trust" {
		return fmt.Errorf("this image knows no passwords: POSTGRES_HOST_AUTH_METHOD must be trust, and is %q", os.Getenv("POSTGRES_HOST_AUTH_METHOD"))
	}
	user := cmp.Or(os.Getenv("POSTGRES_USER"), "postgres")
	database := cmp.Or(os.Getenv("POSTGRES_DB"), user)
	if err := command("", "initdb", "-D", data, "-U", user, "--auth=trust", "-E", "UTF8", "--no-locale", "-N"); err != nil {
		return err
	}
	hba, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(hba, "host all all all trust")
	if closed := hba.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if database == "postgres" { // initdb made it
		return nil
	}
	name := `"` + strings.ReplaceAll(database, `"`, `""`) + `"`
	return command("create database "+name+"\n", "postgres", "--single", "-D", data, "postgres")
}

func command(in string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
