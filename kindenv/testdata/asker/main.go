// Command asker asks a URL until it is answered.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	client := &http.Client{Timeout: time.Second}
	for ; ; time.Sleep(100 * time.Millisecond) {
		res, err := client.Get(os.Args[1])
		if err == nil && res.StatusCode == http.StatusOK {
			fmt.Println("answered")
			return
		}
		fmt.Println(err)
	}
}
