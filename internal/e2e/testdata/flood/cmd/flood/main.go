// Command flood sends datagrams to itself, at a rate.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// port is where the datagrams go.
const port = "127.0.0.1:9999"

func main() {
	sink, err := net.ListenPacket("udp", port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer sink.Close()
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/flood", flood)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
	os.Exit(1)
}

// flood answers with how many datagrams it sent, and how long that took in nanoseconds.
func flood(w http.ResponseWriter, r *http.Request) {
	rate, err1 := strconv.Atoi(r.FormValue("rate"))
	count, err2 := strconv.Atoi(r.FormValue("count"))
	c, err3 := net.Dial("udp", port)
	if err1 != nil || err2 != nil || err3 != nil || rate <= 0 {
		http.Error(w, fmt.Sprint(err1, err2, err3), http.StatusBadRequest)
		return
	}
	defer c.Close()
	began, payload, sent := time.Now(), make([]byte, 300), 0
	for i := range count {
		for due := began.Add(time.Duration(i) * time.Second / time.Duration(rate)); time.Now().Before(due); {
			time.Sleep(time.Until(due))
		}
		if _, err := c.Write(payload); err == nil {
			sent++
		}
	}
	fmt.Fprintln(w, sent, time.Since(began).Nanoseconds())
}
