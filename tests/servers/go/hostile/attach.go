package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// hello is served until the standard input ends; the port is printed.
func hello() {
	serveHello()
	io.Copy(io.Discard, os.Stdin)
}

func serveHello() {
	listener := must(net.Listen("tcp4", "127.0.0.1:0"))
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }))
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
}

// answerBlocking has a thread for as long as the connection lasts, which it waits in read for.
func answerBlocking(fd int) {
	request := make([]byte, 4096)
	for {
		n, err := syscall.Read(fd, request)
		if err == syscall.EINTR {
			fmt.Println("interrupted")
			continue
		}
		if n <= 0 || err != nil {
			fmt.Println("ended", n, err)
			syscall.Close(fd)
			return
		}
		syscall.Write(fd, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	}
}

func serveBlocking() {
	listener := must(syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0))
	must(0, syscall.Bind(listener, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(0, syscall.Listen(listener, 100))
	fmt.Println(must(syscall.Getsockname(listener)).(*syscall.SockaddrInet4).Port)
	for {
		fd, _, err := syscall.Accept(listener)
		if err == nil {
			go answerBlocking(fd)
		}
	}
}

// becomeItself executes this program again and again, as often as the environment says.
func becomeItself() {
	left, _ := strconv.Atoi(os.Getenv("TIMES"))
	if left == 0 {
		fmt.Println("done")
		return
	}
	for range 4 {
		go func() { runtime.LockOSThread(); time.Sleep(time.Hour) }()
	}
	time.Sleep(50 * time.Millisecond)
	must(0, syscall.Exec(must(os.Executable()), os.Args, []string{fmt.Sprint("TIMES=", left-1)}))
}

func init() {
	cases["hello"] = hello
	cases["blocking"] = func() {
		go serveBlocking()
		io.Copy(io.Discard, os.Stdin)
	}
	cases["threads"] = func() {
		var pipe [2]int
		must(0, syscall.Pipe(pipe[:]))
		for range must(strconv.Atoi(os.Getenv("COUNT"))) {
			go syscall.Read(pipe[0], make([]byte, 1))
		}
		hello()
	}
	// Threads that end because their goroutine was bound to them.
	cases["churn"] = func() {
		for range 8 {
			go func() {
				for {
					go runtime.LockOSThread()
					time.Sleep(time.Millisecond)
				}
			}()
		}
		hello()
	}
	cases["spawns"] = func() {
		for range 2 {
			go func() {
				for {
					must(0, exec.Command("true").Run())
				}
			}()
		}
		hello()
	}
	// At a line of input it runs a program, whose exec may take long.
	cases["runs"] = func() {
		serveHello()
		must(os.Stdin.Read(make([]byte, 1)))
		must(0, exec.Command(os.Getenv("PROGRAM")).Run())
		fmt.Println("ran")
		io.Copy(io.Discard, os.Stdin)
	}
	cases["becomes-itself"] = becomeItself
	// At a line of input a child serves, too; it has the rest of it.
	cases["starts"] = func() {
		listener := must(net.Listen("tcp4", "127.0.0.1:0"))
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
		must(os.Stdin.Read(make([]byte, 1)))
		child := exec.Command(must(os.Executable()), "hello")
		child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
		must(0, child.Run())
	}
	cases["filtered"] = func() {
		number := must(strconv.Atoi(os.Getenv("FORBIDDEN")))
		filterCall(uint32(number))
		hello()
	}
	// From a line of input on it may start no more threads.
	cases["limited"] = func() {
		for range 30 { // threads that it keeps
			go syscall.Nanosleep(&syscall.Timespec{Nsec: 200e6}, nil)
		}
		time.Sleep(300 * time.Millisecond)
		serveHello()
		must(os.Stdin.Read(make([]byte, 1)))
		must(0, syscall.Setrlimit(6 /* RLIMIT_NPROC */, &syscall.Rlimit{Cur: 1, Max: 1}))
		fmt.Println("limited")
		io.Copy(io.Discard, os.Stdin)
	}
	// A thread is in another network than the process.
	cases["networks"] = func() {
		for range 4 {
			go func() {
				runtime.LockOSThread()
				must(0, syscall.Unshare(syscall.CLONE_NEWNET))
				select {}
			}()
		}
		time.Sleep(100 * time.Millisecond)
		hello()
	}
}
