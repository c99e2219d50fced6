// Command back answers with its build, and serves for LINGER after it was asked to end.
package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/answer", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "build", os.Getenv("BUILD")) })
	http.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	if linger, err := time.ParseDuration(os.Getenv("LINGER")); err == nil {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		go func() {
			<-asked
			time.AfterFunc(linger, func() { os.Exit(0) })
		}()
	}
	if err := http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), ":8080"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
