// Command back answers with its build.
package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/answer", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "build", os.Getenv("BUILD")) })
	http.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	if err := http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), ":8080"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
