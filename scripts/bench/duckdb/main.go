// Command duckdb answers one SQL query several times, and prints how long that took: what devloop's own queries are compared with.
//
//	duckdb 'SELECT …'
//
// It is a module of its own, because DuckDB needs cgo, and devloop does not.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"golang.org/x/sys/unix"
)

// Result is what is printed.
type Result struct {
	FirstMS    float64 `json:"first_ms"`
	FirstCPUMS float64 `json:"first_cpu_ms"`
	WarmMS     float64 `json:"warm_ms"` // median of the runs after the first
	CPUMS      float64 `json:"cpu_ms"`  // of a warm run, mean
	Rows       int     `json:"rows"`
	PeakMB     float64 `json:"peak_mb"`
}

const runs = 5

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: duckdb SQL")
		os.Exit(2)
	}
	r, err := measure(context.Background(), os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, query string) (*Result, error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "SET threads = 2"); err != nil {
		return nil, fmt.Errorf("set threads: %w", err)
	}
	r := &Result{}
	var warm []float64
	var busy time.Duration
	for i := range runs + 1 {
		before, start := processorTime(), time.Now()
		if r.Rows, err = run(ctx, db, query); err != nil {
			return nil, err
		}
		took, worked := float64(time.Since(start).Microseconds())/1e3, processorTime()-before
		if i == 0 {
			r.FirstMS, r.FirstCPUMS = took, float64(worked.Microseconds())/1e3
			continue
		}
		warm = append(warm, took)
		busy += worked
	}
	slices.Sort(warm)
	r.WarmMS = warm[len(warm)/2]
	r.CPUMS = float64(busy.Microseconds()) / 1e3 / runs
	status, err := os.ReadFile("/proc/self/status") // not getrusage, which also tells of the process that started this one
	if err != nil {
		return nil, err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes float64
	if _, err := fmt.Sscan(peak, &kilobytes); err != nil {
		return nil, err
	}
	r.PeakMB = kilobytes / 1024
	return r, nil
}

func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// run reads all rows of the answer.
func run(ctx context.Context, db *sql.DB, query string) (int, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	values := make([]any, len(names))
	for i := range values {
		values[i] = new(any)
	}
	n := 0
	for rows.Next() {
		if err := rows.Scan(values...); err != nil {
			return 0, err
		}
		n++
	}
	return n, rows.Err()
}
