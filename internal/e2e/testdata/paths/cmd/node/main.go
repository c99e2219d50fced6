// Command node answers, and asks others when it is told to.
package main

import (
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	// A connection for every request: each test case is one.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	http.HandleFunc("/answer/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "answer\n") })
	http.HandleFunc("/ask", func(w http.ResponseWriter, r *http.Request) {
		res, err := client.Get(r.FormValue("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		io.Copy(w, res.Body)
	})
	http.ListenAndServe(os.Getenv("LISTEN"), nil)
}
