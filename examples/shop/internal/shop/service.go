package shop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Service is one running service: its name, its settings and its faults. [New] makes it.
type Service struct {
	Name string
	Log  *slog.Logger
	// Resolver looks names up; nil is the system's configuration, asked by Go's own resolver.
	Resolver *net.Resolver

	env    func(string) string
	faults map[string]bool
	scale  float64
}

// New makes a service from its environment: FAULTS, SCALE and what the service itself asks for.
func New(name string, env func(string) string, log *slog.Logger) (*Service, error) {
	faults, err := parseFaults(env("FAULTS"))
	if err != nil {
		return nil, err
	}
	s := &Service{Name: name, Log: log.With("service", name), env: env, faults: faults, scale: 1}
	if text := env("SCALE"); text != "" {
		if s.scale, err = strconv.ParseFloat(text, 64); err != nil || s.scale <= 0 {
			return nil, fmt.Errorf("read SCALE: %q is not a positive number", text)
		}
	}
	return s, nil
}

// Fault reports whether a fault is planted. Each place that asks is one bug of the story.
func (s *Service) Fault(name string) bool { return s.faults[name] }

// Env is a setting from the environment, or the fallback.
func (s *Service) Env(name, fallback string) string {
	if v := s.env(name); v != "" {
		return v
	}
	return fallback
}

// Scale stretches or shrinks a simulated time by SCALE.
func (s *Service) Scale(d time.Duration) time.Duration { return time.Duration(float64(d) * s.scale) }

// Work pretends to compute for a time, or until the caller has gone.
func (s *Service) Work(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.Scale(d)):
		return nil
	}
}

// Builder makes a service's handler: the one function that each service package exports.
type Builder func(context.Context, *Service) (http.Handler, error)

// Main runs a service until it is told to stop. It is all that a main function does.
func Main(name string, build Builder) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(name, build, log); err != nil {
		log.Error("service ended", "service", name, "error", err)
		os.Exit(1)
	}
}

func run(name string, build Builder, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s, err := New(name, os.Getenv, log)
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", s.Env("LISTEN", ":8080"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	listeners := []net.Listener{plain}
	if address := s.Env("LISTEN_GRPC", ""); address != "" {
		calls, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		listeners = append(listeners, calls)
	}
	if address := s.Env("LISTEN_TLS", ""); address != "" {
		encrypted, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		config, err := ServerTLS(strings.Fields(s.Env("TLS_NAMES", ""))...)
		if err != nil {
			return err
		}
		listeners = append(listeners, tls.NewListener(encrypted, config))
	}
	handler, err := build(ctx, s)
	if err != nil {
		return err
	}
	s.Log.Info("ready", "listen", plain.Addr().String(), "faults", s.Env("FAULTS", "none"))
	return s.Serve(ctx, handler, listeners...)
}

// Serve answers requests on all listeners until ctx ends, then lets those in flight finish.
func (s *Service) Serve(ctx context.Context, handler http.Handler, listeners ...net.Listener) error {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC
	server := &http.Server{
		Protocols:         protocols,
		Handler:           s.receive(handler),
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext:       countRequests,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- server.Serve(l) }()
	}
	var err error
	waiting := len(listeners)
	select {
	case <-ctx.Done():
	case err = <-ended:
		waiting--
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(patience) != nil {
		server.Close()
	}
	for range waiting {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
