// Command standin runs the stand-in for Redis or PostgreSQL: `standin redis 6379`, `standin postgres 5432`.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/devloop-io/devloop/examples/shop/internal/standin"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log, os.Args[1:]); err != nil {
		log.Error("stand-in ended", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(args) != 2 {
		return fmt.Errorf("usage: standin redis|postgres PORT")
	}
	var handle func(net.Conn)
	switch args[0] {
	case "redis":
		handle = standin.NewRedis().Handle
	case "postgres":
		handle = standin.NewPostgres().Handle
	default:
		return fmt.Errorf("there is a stand-in for redis and for postgres, none for %s", args[0])
	}
	l, err := net.Listen("tcp", ":"+args[1])
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	log.Warn("STAND-IN, not the real server: it keeps a few things in memory, enough for the example shop", "for", args[0], "listen", l.Addr().String())
	return standin.Serve(ctx, l, handle)
}
