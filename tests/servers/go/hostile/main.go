// What few programs do, and a recorder must survive: `hostile CASE` does it, and prints what it saw.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

var cases = map[string]func(){}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// figure of /proc/self/status, in KiB where it is memory
func figure(name string) (value int) {
	for line := range strings.Lines(string(must(os.ReadFile("/proc/self/status")))) {
		if strings.HasPrefix(line, name+":") {
			fmt.Sscan(line[len(name)+1:], &value)
		}
	}
	return value
}

func main() {
	if len(os.Args) == 2 && cases[os.Args[1]] != nil {
		cases[os.Args[1]]()
		return
	}
	if slices.Contains(os.Args, "say") {
		fmt.Println(os.Args, must(os.Executable()))
		return
	}
	fmt.Fprintln(os.Stderr, "usage: hostile CASE")
	os.Exit(2)
}
