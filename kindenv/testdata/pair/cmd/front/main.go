// Command front asks back, and somebody outside.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/ask", func(w http.ResponseWriter, r *http.Request) {
		for _, base := range []string{os.Getenv("BACK"), os.Getenv("OUTSIDE")} {
			res, err := http.Get(base + "/answer")
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			_, _ = io.Copy(w, res.Body)
			res.Body.Close()
		}
	})
	if err := http.ListenAndServe(":80", nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
