package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// serve answers /slow after 300 ms, and all else at once.
func serve() string {
	listener := must(net.Listen("tcp4", "127.0.0.1:0"))
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(300 * time.Millisecond)
		}
		fmt.Fprint(w, "hello")
	}))
	return listener.Addr().String()
}

// begin sends requests that are under way when it returns; the function that it returns awaits and counts the answers.
func begin(address string, count int) func() int {
	clients := make([]net.Conn, count)
	for i := range clients {
		clients[i] = must(net.Dial("tcp4", address))
		fmt.Fprintf(clients[i], "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	time.Sleep(100 * time.Millisecond)
	return func() int {
		answers := make(chan string, count)
		var all sync.WaitGroup
		for _, client := range clients {
			all.Go(func() {
				answer, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err == nil && string(must(io.ReadAll(answer.Body))) == "hello" {
					answers <- "good"
				}
			})
		}
		all.Wait()
		time.Sleep(100 * time.Millisecond) // for what the server does after it has answered
		for _, client := range clients {
			client.Close()
		}
		time.Sleep(100 * time.Millisecond)
		return len(answers)
	}
}

// accepted is a connection with a request to be read, and its descriptor.
func accepted() (*net.TCPConn, int) {
	listener := must(net.Listen("tcp4", "127.0.0.1:0"))
	client := must(net.Dial("tcp4", listener.Addr().String()))
	server := must(listener.Accept()).(*net.TCPConn)
	fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	fd := 0
	must(server.SyscallConn()).Control(func(f uintptr) { fd = int(f) })
	return server, fd
}

func init() {
	// Pointers to nowhere are an error of the program's, not its end.
	cases["bad-message"] = func() {
		for _, nowhere := range []uintptr{8, 1 << 63, 0x7ffffffff000, 0} {
			for _, call := range []uintptr{syscall.SYS_RECVMSG, 299 /* recvmmsg */, syscall.SYS_SENDMSG, 307 /* sendmmsg */} {
				connection, fd := accepted()
				_, _, errno := syscall.Syscall6(call, uintptr(fd), nowhere, 1, syscall.MSG_DONTWAIT, 0, 0)
				fmt.Printf("%d %#x %v\n", call, nowhere, errno)
				connection.Close()
			}
		}
	}
}
