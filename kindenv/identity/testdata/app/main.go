// Command app says when it begins and ends, and misbehaves when it is asked to.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	fmt.Println("began", time.Now().UnixNano())
	var unready atomic.Bool
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if unready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/unready", func(http.ResponseWriter, *http.Request) { unready.Store(true) })
	if len(os.Args) > 1 && os.Args[1] == "eat" {
		go eat()
	}
	if len(os.Args) > 1 && os.Args[1] == "tire" {
		time.AfterFunc(4*time.Second, func() { unready.Store(true) })
	}
	go func() { fmt.Println(http.ListenAndServe(":8080", nil)) }()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	fmt.Println("ended", time.Now().UnixNano())
}

// eat takes memory until the kernel ends it.
func eat() {
	time.Sleep(time.Second)
	var all [][]byte
	for {
		b := make([]byte, 4<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
		_ = all
	}
}
