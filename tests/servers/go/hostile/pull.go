package main

import (
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"time"
)

// pull is what a handler does that takes values from a coroutine, each of which comes after a pause.
func pull(pause time.Duration) {
	next, stop := iter.Pull(func(yield func(int) bool) {
		for i := range 3 {
			if pause > 0 {
				time.Sleep(pause)
			}
			if !yield(i) {
				return
			}
		}
	})
	defer stop()
	for {
		if _, more := next(); !more {
			return
		}
	}
}

func init() {
	cases["pull"] = func() {
		listener := must(net.Listen("tcp4", "127.0.0.1:0"))
		go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pull(map[string]time.Duration{"/asleep": 10 * time.Millisecond}[r.URL.Path])
		}))
		for range 20 {
			for _, path := range []string{"/awake", "/asleep"} {
				answer := must(http.Get("http://" + listener.Addr().String() + path))
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		}
		time.Sleep(100 * time.Millisecond)
		fmt.Println("pulled")
	}
}
