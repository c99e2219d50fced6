// Command devloop-supervise is the first process of a container whose program devloop replaces while it runs:
//
//	devloop-supervise run      the supervisor itself
//	devloop-supervise push     a new build from the standard input
//	devloop-supervise watch    what runs, and each change
//	devloop-supervise install  copies itself into the folder
//
// Each takes the supervisor's folder as its one argument, /devloop by default. See package internal/supervise.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/devloop-io/devloop/internal/supervise"
)

func main() {
	dir := supervise.DefaultDir
	if len(os.Args) > 2 {
		dir = os.Args[2]
	}
	verb := ""
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	var err error
	switch verb {
	case "run":
		var code int
		if code, err = supervise.Run(context.Background(), dir); err == nil {
			os.Exit(code)
		}
	case "push":
		err = supervise.Push(dir, os.Stdin, os.Stdout)
	case "watch":
		err = supervise.Watch(dir, os.Stdin, os.Stdout)
	case "install":
		err = supervise.Install(dir)
	default:
		err = fmt.Errorf("usage: devloop-supervise run|push|watch|install [FOLDER]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "devloop-supervise:", err)
		os.Exit(1)
	}
}
