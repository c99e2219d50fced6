// Command app is what the tests push: it answers with its build.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/build", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getenv("BUILD"), os.Args[1:]) })
	http.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	fmt.Println("build", os.Getenv("BUILD"), "begins")
	if err := http.ListenAndServe(os.Getenv("LISTEN"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
