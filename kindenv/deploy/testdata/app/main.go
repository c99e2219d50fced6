// Command app does what its first argument says, for tests of rollouts.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "exit":
		fmt.Println("the database is not there")
		os.Exit(3)
	case "done":
		fmt.Println("migrated")
	case "eat":
		var all [][]byte
		for {
			b := make([]byte, 16<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
			fmt.Println(len(all))
		}
	case "serve", "linger":
		http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "warming up", http.StatusServiceUnavailable)
		})
		http.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
		go func() { fmt.Println(http.ListenAndServe(":8080", nil)) }()
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		if os.Args[1] == "linger" { // until it is killed
			select {}
		}
	}
}
